"""`rdrkd demo`, `bench` and `scenes`: try the method and measure it on synthetic scenes."""

from pathlib import Path
from typing import Annotated

import typer

from rdrkd.cli.options import Device


def demo(
    output: Annotated[Path, typer.Option(help="Output folder for figures, picture and student.")] = Path("demo-output"),
) -> None:
    """Train a teacher and distil a student through the service, on synthetic scenes, in a few minutes."""
    from rdrkd.cli.demo import demo as walk

    raise typer.Exit(walk(output))


def bench(
    output: Annotated[Path, typer.Option(help="Output folder for the JSON.")] = Path("bench-output"),
    rounds: Annotated[int, typer.Option(min=3, help="Rounds; each measures every kind of step once, in turn.")] = 15,
    device: Device = None,
    methods: Annotated[
        str | None, typer.Option(help="Presets to measure instead, comma-separated, or groups: `cwd,mgd`, `table1`.")
    ] = None,
    processor_time: Annotated[
        bool,
        typer.Option(
            "--processor-time", help="Measure processor time instead of wall time, for a CPU with other load."
        ),
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--everything",
            help="Also measure every term, level, option and comparator, memory, an epoch.",
        ),
    ] = False,
) -> None:
    """Measure step times: student alone, with the teacher's forward pass, RDR-KD, and Ultralytics' own distillation."""
    from rdrkd.cli.bench import bench as measure
    from rdrkd.cli.bench import presets_of

    raise typer.Exit(
        measure(
            output,
            rounds,
            device,
            methods=presets_of(methods) if methods else (),
            processor_time=processor_time,
            everything=everything,
        )
    )


def scenes(
    out: Annotated[Path, typer.Argument(help="New or empty folder.", show_default=False)],
    profile: Annotated[
        str,
        typer.Option(
            help="visdrone: like the real annotations; demo: easy scenes; shapes: classes that only differ in shape."
        ),
    ] = "visdrone",
    images: Annotated[int, typer.Option(min=1, help="Training images.")] = 600,
    val_images: Annotated[int, typer.Option(min=1, help="Validation images.")] = 100,
    imgsz: Annotated[
        str | None, typer.Option(help="Width in px, or WIDTHxHEIGHT; default: 960 for visdrone, else 160.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes.")] = 0,
) -> None:
    """Draw synthetic drone scenes with exact boxes, as YOLO, COCO and VisDrone."""
    from rdrkd.data.scenes import write_scenes

    size = _size(imgsz or ("960" if profile == "visdrone" else "160"))
    data = write_scenes(out, profile, {"train": images, "val": val_images}, size, seed)  # type: ignore[arg-type]
    typer.echo(data)


def _size(text: str) -> int | tuple[int, int]:
    """Read `960` or `960x540`."""
    try:
        sides = [int(side) for side in text.split("x")]
    except ValueError:
        sides = []
    if len(sides) == 1:
        return sides[0]
    if len(sides) == 2:
        return sides[0], sides[1]
    raise typer.BadParameter(f"expected WIDTH or WIDTHxHEIGHT in px, got {text!r}", param_hint="--imgsz")
