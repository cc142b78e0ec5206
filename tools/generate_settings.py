"""Generate docs/settings.md from the settings' own descriptions.

Usage: `python tools/generate_settings.py [TARGET]`.
"""

import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from api.settings import GIB, Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
HEAD = """# Settings

<!-- Generated from api/settings.py by `make settings`: edit there. -->

Environment variables, the same for API, worker and reaper. A value may also stand in a file named after the variable
in lower case, in the folder that `RDRKD_SECRETS_DIR` names: the form in which containers get secrets. `rdrkd doctor`
checks the settings before a start.
"""
SECTIONS = {  # by their first field
    "data_dir": "Database, broker, data folder",
    "storage_url": "Storage",
    "checkpoints_keep_last": "Retention of files",
    "host": "Server",
    "max_dataset_bytes": "Datasets and models",
    "min_free_bytes": "Disk, quotas, rate limits",
    "audit_keep_days": "Audit log and webhooks",
    "log_format": "Logs",
    "lease_seconds": "Workers and reaper",
}


def page() -> str:
    """Return the page: a table for each section, a row for each setting."""
    lines, known = [HEAD.rstrip("\n")], {"data_dir": "<data_dir>"}
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            lines += ["", f"## {SECTIONS[name]}", "", "| variable | default | meaning |", "|---|---|---|"]
        value = known.setdefault(name, field.get_default(call_default_factory=True, validated_data=known))
        shown = "on SQLite" if name == "migrate_on_start" else _shown("var" if name == "data_dir" else value)
        lines.append(f"| `RDRKD_{name.upper()}` | {shown} | {_meaning(field)} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if value is None or value in ("", []):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int) and value >= GIB:
        return f"{value // GIB} GiB"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    return str(field.description).replace("|", "\\|")


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page(), encoding="utf-8")
