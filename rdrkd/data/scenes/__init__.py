"""Synthetic drone scenes with exact boxes: the same seed gives the same bytes, for each image independently.

write_scenes(Path("scenes"), "demo", {"train": 600, "val": 100}, imgsz=160, seed=0)
"""

import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from rdrkd.data import coco, yolo
from rdrkd.data import visdrone as visdrone_format
from rdrkd.data.data_yaml import SPLITS, write_yaml
from rdrkd.data.frames import Frame
from rdrkd.data.scenes import demo, scene, shapes, town, visdrone
from rdrkd.data.scenes.sprites import Image
from rdrkd.errors import DatasetError
from rdrkd.suggestion import suggestion

Profile = Literal["visdrone", "demo", "shapes"]
Format = Literal["yolo", "coco", "visdrone"]
NAMES: dict[Profile, tuple[str, ...]] = {
    "visdrone": visdrone_format.NAMES, "demo": demo.NAMES, "shapes": shapes.NAMES,
}  # fmt: skip
_SQUARE = {"demo": demo, "shapes": shapes}
_LEAST_SIDE = 64  # px


@dataclass(frozen=True)
class Scene:
    """A scene: its picture, its annotations, and for each pixel the index of the box that it shows (-1: ground)."""

    image: Image
    frame: Frame
    drawn: scene.Drawn


def render(profile: Profile, imgsz: int | tuple[int, int], seed: int, split: str, index: int) -> Scene:
    """Draw one scene; it depends on these arguments only, so scenes can be drawn in any order or in parallel.

    Args:
        profile: `visdrone`, `demo` or `shapes`.
        imgsz: (width, height) in px, or one number: the width, with the height of a 16:9 frame for `visdrone`, square
            for the others.
        seed: of all random choices.
        split: one of train, val, test: the same index gives another scene in each.
        index: number of the scene.
    """
    width, height = frame_size(profile, imgsz)
    streams = np.random.SeedSequence([seed, SPLITS.index(split), index]).spawn(4)
    for_plan, for_ground, for_sensor, for_town = (np.random.Generator(np.random.PCG64(s)) for s in streams)
    if profile in _SQUARE:
        drawing = _SQUARE[profile]
        plan = drawing.plan(for_plan, width, height)
        drawn = scene.draw(drawing.ground(for_ground, width, height), plan)
        image = demo.sensor(drawn.image, for_sensor)
    else:
        place = town.build(for_town, width, height)
        plan = visdrone.plan(for_plan, width, height, place)
        objects = [(item.x, item.y, item.width, item.height) for item in plan.items]
        empty = town.blur_regions(town.ground(for_ground, place, objects), plan.regions, for_ground)
        drawn = scene.draw(empty, plan)
        image = town.sensor(drawn.image, for_sensor)
    name = f"{profile}_{split}_{index:06d}.jpg"
    return Scene(image, Frame(name, width, height, scene.boxes(plan, drawn)), drawn)


def frame_size(profile: Profile, imgsz: int | tuple[int, int]) -> tuple[int, int]:
    """Return the width and height in px that `imgsz` stands for.

    >>> frame_size("demo", 160), frame_size("visdrone", 960), frame_size("visdrone", (640, 512))
    ((160, 160), (960, 540), (640, 512))
    """
    if isinstance(imgsz, tuple):
        return imgsz
    return (imgsz, imgsz) if profile in _SQUARE else (imgsz, round(imgsz * 9 / 16))


def write_scenes(
    out: Path,
    profile: Profile,
    images: Mapping[str, int],
    imgsz: int | tuple[int, int],
    seed: int = 0,
    formats: Collection[Format] = ("yolo", "coco", "visdrone"),
) -> Path:
    """Write scenes as a dataset: `images/<split>`, and the annotations in each format.

    `yolo`: `labels/<split>`; `coco`: `annotations/<split>.json`, which includes the ignored regions and is used by the
    evaluation; `visdrone`: `visdrone/<split>`, text files in VisDrone's format.

    Args:
        out: the folder to create; it may exist if empty.
        profile: `visdrone`, `demo` or `shapes`.
        images: number of scenes by split, such as {"train": 600, "val": 100}.
        imgsz: see `render`.
        seed: of all random choices; the same seed writes the same bytes.
        formats: which annotations to write.

    Returns:
        The path of the data YAML.

    Raises:
        DatasetError: an argument is out of bounds, or `out` is not empty.
    """
    _check(out, profile, images, imgsz, seed, formats)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for split, count in images.items():
            frames = _write_images(partial / "images" / split, profile, imgsz, seed, split, count)
            _write_annotations(partial, split, frames, NAMES[profile], formats)
        write_yaml(partial / "data.yaml", NAMES[profile], list(images))
        partial.chmod(0o755)  # mkdtemp's own mode excludes other users
        partial.rename(out)  # over an empty folder, if there is one
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out / "data.yaml"


def _check(
    out: Path,
    profile: Profile,
    images: Mapping[str, int],
    imgsz: int | tuple[int, int],
    seed: int,
    formats: Collection[str],
) -> None:
    if profile not in NAMES:
        raise DatasetError(f"profile: expected one of {', '.join(NAMES)}, got {profile!r}{suggestion(profile, NAMES)}")
    if not images or not set(images) <= set(SPLITS) or not all(0 < count <= 1_000_000 for count in images.values()):
        raise DatasetError(f"images: expected 1 to 1000000 for each of {', '.join(SPLITS)}, got {dict(images)}")
    size = frame_size(profile, imgsz)
    if min(size) < _LEAST_SIDE or max(size) > 8192:
        raise DatasetError(f"imgsz: expected sides of {_LEAST_SIDE} to 8192 px, got {size[0]}x{size[1]}")
    if seed < 0:
        raise DatasetError(f"seed: expected 0 or more, got {seed}")
    if not set(formats) <= set(get_args(Format)):
        raise DatasetError(f"formats: expected some of {', '.join(get_args(Format))}, got {sorted(formats)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"out: expected a new or empty folder, got {out}, which is not empty")


def _write_images(
    folder: Path, profile: Profile, imgsz: int | tuple[int, int], seed: int, split: str, count: int
) -> list[Frame]:
    folder.mkdir(parents=True)
    frames = []
    for index in range(count):
        made = render(profile, imgsz, seed, split, index)
        _, encoded = cv2.imencode(".jpg", made.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        (folder / made.frame.file).write_bytes(encoded.tobytes())
        frames.append(made.frame)
    return frames


def _write_annotations(
    out: Path, split: str, frames: list[Frame], names: tuple[str, ...], formats: Collection[Format]
) -> None:
    if "coco" in formats:
        coco.write(out / "annotations" / f"{split}.json", frames, names)
    for form, folder, to_text in (
        ("yolo", out / "labels" / split, yolo.to_text),
        ("visdrone", out / "visdrone" / split, visdrone_format.to_text),
    ):
        if form in formats:
            folder.mkdir(parents=True)
            for frame in frames:
                (folder / frame.file).with_suffix(".txt").write_text(to_text(frame), encoding="utf-8")
