"""Output files of commands, which are checked before anything is downloaded or computed."""

from collections.abc import Collection
from pathlib import Path

import typer


def target_of(output: Path | None, default: str, suffixes: Collection[str] = ()) -> Path:
    """Return the file to write: in an existing folder, the one named `default`.

    Args:
        output: value of --output; None: not given.
        default: name of the file in the current folder, or in the folder that --output names; it is never overwritten.
        suffixes: the possible suffixes; empty: any.

    Raises:
        BadParameter: the file has another suffix, is in no folder, or would be overwritten without being named.
    """
    if output is None:
        if Path(default).exists():
            raise typer.BadParameter(f"{default} exists already: `--output {default}` overwrites it")
        return Path(default)
    target = output / default if output.is_dir() else output
    if target != output and target.exists():
        raise typer.BadParameter(f"{target} exists already: `--output {target}` overwrites it")
    if suffixes and target.suffix not in suffixes:
        came = target.name if target.suffix else f"no folder {output}"
        raise _refused(output, f"expected a file named {_either(suffixes)}, got {came}")
    if not target.parent.is_dir():
        came = f"the file {target.parent}" if target.parent.exists() else f"no {target.parent}"
        raise _refused(output, f"expected an existing folder, got {came}")
    if target.is_dir():
        raise _refused(output, f"expected a file, got the folder {target}")
    return target


def _refused(output: Path, detail: str) -> typer.BadParameter:
    return typer.BadParameter(f"--output {output}: {detail}")


def _either(suffixes: Collection[str]) -> str:
    *others, last = (f"*{suffix}" for suffix in suffixes)
    return f"{', '.join(others)} or {last}" if others else last
