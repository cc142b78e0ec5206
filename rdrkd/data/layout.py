"""Where the parts of a dataset in YOLO layout lie: the images of each split, however its data YAML names them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from rdrkd.data.data_yaml import SPLITS, read_yaml, refused
from rdrkd.data.images import is_image
from rdrkd.errors import Problem
from rdrkd.files import files_below
from rdrkd.spec.dividing import HOW

_MAX_LIST_BYTES = 256 << 20


@dataclass(frozen=True)
class Layout:
    """Where a dataset's parts lie: the images of each split, the COCO JSON of those that have one, and what was odd."""

    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]
    annotations: dict[str, Path]
    notes: tuple[str, ...] = ()


def read_layout(file: Path, within: Path | None = None) -> Layout:
    """Read a data YAML and find what it names.

    Args:
        file: the YAML.
        within: for an upload, the folder that nothing may leave; unknown keys are refused then. None for the files of
            this machine's owner, whose paths may lead anywhere; there `download` and unknown keys are ignored.

    Raises:
        DatasetError: with a problem for each field at fault.
    """
    data = read_yaml(file, known_only=within is not None)
    root, notes = _root(data.path, file, within)
    splits: dict[str, tuple[Path, ...]] = {}
    problems: list[Problem] = []
    for split in SPLITS:
        images, faults, told = _split_images(split, getattr(data, split), root, within)
        problems += [Problem(f"{file.name}: {split}", fault) for fault in faults]
        notes += [f"{file.name}: {split}: {note}" for note in told]
        if images:
            splits[split] = images
    if not problems and not splits:
        problems = [Problem(f"{file.name}: train", f"expected a folder of images, got nothing; {HOW}")]
    if problems:
        raise refused(problems)
    annotations = {s: p for s in splits if (p := root / "annotations" / f"{s}.json").is_file()}
    return Layout(root, data.names, splits, annotations, tuple(notes))


def images_in(folder: Path) -> list[Path]:
    """Return the images under a folder as Ultralytics finds them: through links, nothing hidden; sorted."""
    return sorted(file for file in files_below(folder) if is_image(file))


def _root(path: str, file: Path, within: Path | None) -> tuple[Path, list[str]]:
    """Return the folder that the splits' paths start from, and a note where it is not the one that the YAML names.

    A `path` of the machine on which the dataset was made leads nowhere here: then the YAML's own folder counts.
    """
    root = (file.parent / path).resolve()
    if root.is_dir() and _inside(root, within):
        return root, []
    if _is_foreign(path):
        return file.parent.resolve(), [f"{file.name}: path: {path[:200]!r} is a path on another machine; ignored"]
    detail = f"expected an existing folder {'of the archive ' if within else ''}such as `.`, got {path[:200]!r}"
    raise refused([Problem(f"{file.name}: path", detail)])


def _is_foreign(path: str) -> bool:
    """Return whether a path is absolute, here or on Windows, or leads to where Ultralytics keeps its downloads."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute() or path.startswith("../datasets")


def _split_images(
    split: str, places: Sequence[str], root: Path, within: Path | None
) -> tuple[tuple[Path, ...], list[str], list[str]]:
    """Return a split's images, what is wrong with its entries, and what was passed over."""
    images: dict[Path, None] = {}
    faults, notes = [], []
    for place in places:
        try:
            found, fault = _images_at(place, root, within)
        except OSError as error:  # a path longer than this disk takes
            faults.append(f"expected a folder of images, got {place[:100]!r}: {error.strerror}")
            continue
        images |= dict.fromkeys(found)
        if fault is not None and split == "test" and _is_absent(place, root, within):
            notes.append(f"nothing at {place[:200]!r}; ignored")  # Roboflow names a test split that it left out
        elif fault is not None:
            faults.append(fault)
    return tuple(sorted(images, key=str)), faults, notes


def _images_at(place: str, root: Path, within: Path | None) -> tuple[list[Path], str | None]:
    """Return the images of a folder or list, or none and what is wrong with it."""
    if "://" in place:
        return [], f"expected a folder of images, got the address {place[:200]!r}"
    there = _resolved(place, root, within)
    if not _inside(there, within):
        return [], f"expected a folder inside the archive, got {place[:200]!r}"
    if there.is_file() and there.suffix.lower() == ".txt":
        return _listed(there, root, within)
    if not there.is_dir():
        came = "a file" if there.is_file() else "nothing there"
        return [], f"expected a folder of images, or a .txt that lists them, at {place[:200]!r}, got {came}"
    if not (found := images_in(there)):
        return [], f"expected images in {place[:200]!r}, got none"
    return found, None


def _resolved(place: str, root: Path, within: Path | None) -> Path:
    """Resolve a path of a YAML or list; one that leads nowhere may be another machine's, of which the end is here."""
    # An archive holds no links. Those of an owner's folder are kept: labels are found by the path before a link.
    settled = Path.resolve if within is not None else _normal
    if "\\" in place and not PureWindowsPath(place).drive and not (root / place).exists():
        place = place.replace("\\", "/")  # written on Windows
    there = settled(root / place)
    if place.startswith("../") and not (there.exists() and _inside(there, within)):
        there = settled(root / place[3:])  # Roboflow writes ../train/images; Ultralytics reads it the same way
    if not (there.exists() and _inside(there, within)) and _is_foreign(place):
        parts = PureWindowsPath(place).parts if "\\" in place else PurePosixPath(place).parts
        ends = (settled(root / Path(*parts[start:])) for start in range(1, len(parts)))
        there = next((end for end in ends if end.exists() and _inside(end, within)), there)
    return there


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _is_absent(place: str, root: Path, within: Path | None) -> bool:
    there = _resolved(place, root, within)
    return "://" not in place and _inside(there, within) and not there.exists()


def _listed(file: Path, root: Path, within: Path | None) -> tuple[list[Path], str | None]:
    """Return the images that a text file lists, one a line, relative to the root or the file, or what is wrong."""
    if file.stat().st_size > _MAX_LIST_BYTES:
        return [], f"expected a list of at most {_MAX_LIST_BYTES} bytes at {file.name!r}, got more"
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        return [], f"expected a list in UTF-8 at {file.name!r}, got: {error}"
    found = []
    for line in filter(None, lines):
        try:
            # CVAT writes data/images/... of an archive that holds images/...
            places = (_resolved(line, root, within), _resolved(line, file.parent, within))
            tail = _resolved("/" + line, root, within)
            image = next((p for p in (*places, tail) if p.is_file() and _inside(p, within) and is_image(p)), None)
        except (OSError, ValueError):  # a NUL, or longer than any path
            image = None
        if image is None:
            return [], f"expected images of the archive in the list {file.name!r}, got {line[:200]!r}"
        found.append(image)
    return found, None if found else f"expected images in the list {file.name!r}, got none"


def _inside(path: Path, within: Path | None) -> bool:
    return within is None or path.is_relative_to(within.resolve())
