"""Generate docs/reference.md: every option of the command line and every field of the specs.

Usage: `python tools/generate_reference.py [TARGET]`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from rdrkd.cli.main import app
from rdrkd.spec import RUN_SPEC
from rdrkd.spec.study import Study

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
HEAD = """# Reference

<!-- Generated from the commands and specs by `make reference`: edit there. -->

Every option of the command line and every field of job and study specs, with default and bounds. Units are in the
descriptions. `rdrkd schema` and `rdrkd study schema` print the fields as JSON Schema. The service's environment
variables are on [a page of their own](settings.md)."""
FIRST = ("Distill", "Train", "Evaluate", "Export", "Study")
BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "multipleOf": "multiple of {}", "minLength": "at least {} characters", "maxLength": "at most {} characters",
    "minItems": "at least {} items", "maxItems": "at most {} items", "maxProperties": "at most {} entries",
}  # fmt: skip


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, "", "## Commands", *_commands(typer.main.get_command(app)), *_specs()]) + "\n"


def _commands(group: Any, path: tuple[str, ...] = ("rdrkd",)) -> Iterator[str]:
    context = group.make_context("rdrkd", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command.hidden:
            continue
        if hasattr(command, "list_commands"):
            yield from _commands(command, (*path, name))
            continue
        yield from ("", f"### `{' '.join((*path, name))}`", "", _cell(command.help))
        rows = [
            _parameter(each) for each in command.params if each.name != "help" and not getattr(each, "hidden", False)
        ]
        if rows:
            yield from ("", "| argument or option | default | meaning |", "|---|---|---|", *rows)


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = str(parameter.name).upper()
    else:
        name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    default = "" if parameter.default in (None, False) or callable(parameter.default) else f"`{parameter.default}`"
    bounds = [text.format(getattr(parameter, side))
              for side, text in (("min", "≥ {}"), ("max", "≤ {}"))
              if getattr(parameter, side, None) is not None]  # fmt: skip
    variable = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
    return f"| `{name}` | {'required' if parameter.required else default} | {_cell(parameter.help, bounds)}{variable} |"


def _specs() -> Iterator[str]:
    jobs, study = RUN_SPEC.json_schema(), Study.model_json_schema()
    definitions = jobs["$defs"] | study["$defs"] | {"Study": study}
    yield from ("", "## Specs", "", "A job is one of `Distill`, `Train`, `Evaluate` and `Export`, by its `kind`.")
    for name in sorted(definitions, key=lambda each: (each not in FIRST, each)):
        schema = definitions[name]
        if "properties" not in schema:
            continue
        yield from ("", f"### {name}", "", _cell(schema.get("description", "")))
        yield from ("", "| field | type | default | meaning |", "|---|---|---|---|")
        for field, about in schema["properties"].items():
            needed = field in schema.get("required", ())
            default = "required" if needed else f"`{about['default']}`" if about.get("default") is not None else ""
            kinds = " or ".join(dict.fromkeys(_kinds(about, definitions)))
            yield f"| `{field}` | {kinds} | {default} | {_cell(about.get('description', ''), list(_bounds(about)))} |"


def _kinds(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if "properties" in definitions[name]:  # has a section of its own
            yield f"[{name}](#{name.lower()})"
        else:
            yield from _kinds(definitions[name], definitions)
    elif "enum" in schema or "const" in schema:
        yield ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    elif variants := schema.get("anyOf") or schema.get("oneOf"):
        for variant in variants:
            yield from (kind for kind in _kinds(variant, definitions) if kind != "null")
    elif schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        yield f"list of {' or '.join(_kinds(schema['items'], definitions))}"
    else:
        yield str(schema.get("type", "any"))


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    for part in (schema, *schema.get("anyOf", ())):
        yield from (text.format(part[key]) for key, text in BOUNDS.items() if key in part)


def _cell(text: str | None, bounds: list[str] | None = None) -> str:
    """Return a text in one line, followed by its bounds, as a table cell."""
    line = " ".join((text or "").split()).replace("|", "\\|")
    return line + (f" ({', '.join(bounds)})" if bounds else "")


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page())
