"""Generate the blocking client, `rdrkd/client/_sync`, from the coroutines in `rdrkd/client/_async`.

python tools/generate_client.py [TARGET]
"""

import subprocess
import sys
from pathlib import Path

import unasync

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TARGET = ROOT / "rdrkd" / "client" / "_async", ROOT / "rdrkd" / "client" / "_sync"
NOTICE = "# Generated from rdrkd/client/_async by `make client`: edit there.\n"
NAMES = {
    "AsyncBaseTransport": "BaseTransport",
    "AsyncClient": "Client",
    "AsyncDriver": "Driver",
    "_async": "_sync",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "asyncio": "blocking",
}


def generate(target: Path) -> None:
    """Write the blocking form of each module to a folder."""
    rule = unasync.Rule(str(SOURCE), str(target), additional_replacements=NAMES)
    unasync.unasync_files([str(file) for file in sorted(SOURCE.glob("*.py"))], [rule])
    for file in target.glob("*.py"):
        text = file.read_text().replace("import blocking\n", "from rdrkd.client import blocking\n")
        file.write_text(NOTICE + text)
    for command in (["check", "--quiet", "--fix", "--select", "I"], ["format", "--quiet"]):
        subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", ROOT / "pyproject.toml", target], check=True
        )


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
