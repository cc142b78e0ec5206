"""Options shared by several commands that run on this machine."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def number(text: object) -> Any:
    """Return the number that a text on the command line stands for; another text is returned unchanged.

    As the `parser` of an option whose bounds are its spec's, it leaves the refusal to the spec, which refuses all
    wrong options and missing files at once.

    >>> number("-3"), number("0.5"), number("abc"), number("true")
    (-3, 0.5, 'abc', 'true')
    """
    try:
        found = json.loads(str(text))
    except ValueError:
        return text
    return found if type(found) in (int, float) else text


Spec = Annotated[Path, typer.Argument(help="Job spec, JSON or YAML.", show_default=False)]
RunDir = Annotated[
    Path,
    typer.Option(
        help="Run folder. Run the same command again to resume; a finished run prints its result.", show_default=False
    ),
]
SpecOrOptions = Annotated[
    Path | None, typer.Argument(help="Job spec, JSON or YAML; or use the options below.", show_default=False)
]
RunDirByName = Annotated[
    Path | None,
    typer.Option(
        help="Run folder; default: runs/NAME, where a spec's NAME is that of its file. Run the same command again to "
        "resume; a finished run prints its result.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", "--dataset", help="Dataset: folder, data YAML, zip or tar.", show_default=False),
]
Model = Annotated[
    Path | None, typer.Option(help="Model weights, if the spec refers to them by id.", show_default=False)
]
DatasetPath = Annotated[
    Path | None,
    typer.Option(help="Dataset (folder, data YAML, zip or tar), if the spec refers to it by id.", show_default=False),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder to unpack archives into, once; default: the run folder.", show_default=False),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="`cpu`, or a GPU's number; default: the first GPU, else the CPU. A list (`0,1`; `cpu,cpu`) trains on all "
        "of them, with a process each that takes its share of every batch; the first one evaluates.",
        show_default=False,
    ),
]
Events = Annotated[bool, typer.Option("--events", help="Write JSON event lines to stdout, everything else to stderr.")]
