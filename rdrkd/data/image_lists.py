"""Text files that list the images of a split, one per line, as CVAT and Ultralytics write them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdrkd.data.images import is_image
from rdrkd.data.places import OnDisk, is_inside, parts_of, settled
from rdrkd.data.text_files import text_of

_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Listed:
    """The images of a list, in its order; `shortened` tells that only the ends of its paths exist here."""

    images: list[Path]
    shortened: bool


def read_list(file: Path, root: Path, within: Path | None) -> Listed | str:
    """Return the images of a list, or a description of its fault.

    Paths start from the root or from the list's folder. Otherwise they come from another machine, with a common prefix
    that does not exist here: CVAT writes `data/images/...` for an archive that holds `images/...`.

    Args:
        file: the list.
        root: the `path` of the data YAML.
        within: for an upload, the folder that paths must not leave.
    """
    if file.stat().st_size > _MOST_BYTES:
        return f"expected a list of at most {_MOST_BYTES} bytes at {file.name!r}, got more"
    try:
        text = text_of(file)
    except UnicodeDecodeError as error:
        return f"expected a list in UTF-8 or UTF-16 at {file.name!r}, got: {error}"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return f"expected images in the list {file.name!r}, got none"
    reached, wrong, disk = -1, "", OnDisk()
    for start, dropped in _beginnings(lines[0], file, root):
        images = _images(lines, start, dropped, within, disk)
        if len(images) == len(lines):
            return Listed(images, shortened=bool(dropped))
        if len(images) > reached:
            reached, wrong = len(images), lines[len(images)]
    return f"expected images of the archive in the list {file.name!r}, got {wrong[:200]!r}"


def _beginnings(line: str, file: Path, root: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the possible start folders of a list's paths, with the prefix to remove from the paths."""
    yield from ((start, ()) for start in dict.fromkeys((root, file.parent)))
    parts = parts_of(line)
    yield from ((root, parts[:number]) for number in range(1, len(parts)))


def _images(
    lines: Sequence[str], start: Path, dropped: tuple[str, ...], within: Path | None, disk: OnDisk
) -> list[Path]:
    """Return the images that the lines name, up to the first line that names none."""
    found = []
    for line in lines:
        parts = parts_of(line)
        if parts[: len(dropped)] != dropped:
            break
        places = [start.joinpath(*parts[len(dropped) :])]
        if "\\" in line and not dropped:
            places.insert(0, start / line)  # a backslash may be a part of the name
        try:
            there = (disk.find(settled(place, within)) for place in places)
            image = next((path for path in there if _is_usable(path, within)), None)
        except (OSError, ValueError):  # a NUL, or longer than any path
            image = None
        if image is None:
            break
        found.append(image)
    return found


def _is_usable(path: Path, within: Path | None) -> bool:
    return path.is_file() and is_inside(path, within) and is_image(path)
