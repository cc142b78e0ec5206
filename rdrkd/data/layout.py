"""Locate the parts of a dataset in YOLO layout: the images of each split, however its data YAML names them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rdrkd.data.data_yaml import SPLITS, read_yaml, refused
from rdrkd.data.image_lists import read_list
from rdrkd.data.images import is_image
from rdrkd.data.places import is_foreign, is_inside, is_plain, resolved
from rdrkd.errors import Problem
from rdrkd.files import files_below
from rdrkd.spec.splitting import HOW


@dataclass(frozen=True)
class Layout:
    """The parts of a dataset: the images of each split, the COCO JSON of those that have one, and oddities."""

    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]
    annotations: dict[str, Path]
    notes: tuple[str, ...] = ()


def read_layout(file: Path, within: Path | None = None) -> Layout:
    """Read a data YAML and find the files that it names.

    Args:
        file: the YAML.
        within: for an upload, the folder that paths must not leave; None for local files, whose paths may lead
            anywhere.

    Raises:
        DatasetError: fields are faulty; with a problem for each.
    """
    data = read_yaml(file)
    root, notes, nowhere = _root(data.path, file, within)
    found = {split: _split_images(split, getattr(data, split), root, within) for split in SPLITS}
    faults = [(split, fault) for split, one in found.items() for fault in one.faults] or list(_mixed(found))
    problems = [Problem(f"{file.name}: {split}", fault) for split, fault in faults]
    notes += [f"{file.name}: {split}: {note}" for split, one in found.items() for note in one.notes]
    splits = {split: tuple(sorted(one.images, key=str)) for split, one in found.items() if one.images}
    if not problems and not splits:
        problems = [Problem(f"{file.name}: train", f"expected a folder of images, got nothing; {HOW}")]
    if problems and "download" in data.ignored:
        problems.append(Problem(f"{file.name}: download", "never run: put the images themselves beside the data YAML"))
    if problems:
        raise refused([*nowhere, *problems])
    if data.ignored:
        notes.append(f"{file.name}: ignored these keys: {', '.join(data.ignored)}")
    annotations = {s: p for s in splits if (p := root / "annotations" / f"{s}.json").is_file()}
    return Layout(root, data.names, splits, annotations, tuple(notes))


def images_in(folder: Path) -> list[Path]:
    """Return the images under a folder as Ultralytics finds them, following links, without hidden files; sorted."""
    return sorted(file for file in files_below(folder) if is_image(file))


def _root(path: str, file: Path, within: Path | None) -> tuple[Path, list[str], list[Problem]]:
    """Return the folder that the splits' paths start from, with a note and a problem if it is not the `path` given.

    A `path` of another machine does not exist here, and one such as `coco8` is relative to Ultralytics' downloads: then
    the YAML's own folder is used, if it contains the splits.
    """
    root = (file.parent / path).resolve()
    if root.is_dir() and is_inside(root, within):
        return root, [], []
    kind = "a path on another machine" if is_foreign(path) else "not there"
    detail = f"expected an existing folder {'of the archive ' if within else ''}such as `.`, got {path[:200]!r}"
    nowhere = Problem(f"{file.name}: path", detail)
    if not (is_foreign(path) or is_inside(root, within)):
        raise refused([nowhere])
    return file.parent.resolve(), [f"{nowhere.where}: {path[:200]!r} is {kind}; ignored"], [nowhere]


@dataclass
class _Found:
    """The result of resolving the entries of a split.

    Attributes:
        images: distinct images, in the order of the entries.
        faults: faults of entries.
        notes: tolerated oddities.
        shortened: an entry with a path of another machine, of which only the end was found; else "".
    """

    images: dict[Path, None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shortened: str = ""


def _split_images(split: str, places: Sequence[str], root: Path, within: Path | None) -> _Found:
    """Return a split's images, the faults of its entries, and notes."""
    found = _Found()
    for place in places:
        try:
            fault = _images_at(place, root, within, found)
        except OSError as error:  # the path is too long for this file system
            found.faults.append(f"expected a folder of images, got {place[:100]!r}: {error.strerror}")
            continue
        if fault is not None and split == "test" and _is_absent(place, root, within):
            found.notes.append(f"nothing at {place[:200]!r}; ignored")  # Roboflow names a missing test split
        elif fault is not None:
            found.faults.append(fault)
    if (strange := next((image for image in found.images if not is_plain(str(image))), None)) is not None:
        found.faults.append(
            f"expected paths in UTF-8 without control characters, got {ascii(str(strange))[1:-1][-200:]}"
        )
    return found


def _images_at(place: str, root: Path, within: Path | None, found: _Found) -> str | None:
    """Add the images of a folder or list, and return its fault, if any."""
    if "://" in place:
        return f"expected a folder of images, got the address {place[:200]!r}"
    there, shortened = resolved(place, root, within)
    if not is_inside(there, within):
        return f"expected a folder inside the archive, got {place[:200]!r}"
    if there.is_file() and there.suffix.lower() == ".txt":
        listed = read_list(there, root, within)
        if isinstance(listed, str):
            return listed
        images, shortened = listed.images, listed.shortened or shortened
        if repeated := len(images) - len(set(images)):
            found.notes.append(f"{there.name}: {repeated} entries name an image again; each is used once")
    elif not there.is_dir():
        came = "a file" if there.is_file() else "nothing there"
        return f"expected a folder of images, or a .txt that lists them, at {place[:200]!r}, got {came}"
    elif not (images := images_in(there)):
        return f"expected images in {place[:200]!r}, got none"
    found.images |= dict.fromkeys(images)
    found.shortened = found.shortened or (place if shortened else "")
    return None


def _is_absent(place: str, root: Path, within: Path | None) -> bool:
    there, _ = resolved(place, root, within)
    return "://" not in place and is_inside(there, within) and not there.exists()


def _mixed(found: Mapping[str, _Found]) -> Iterator[tuple[str, str]]:
    """Yield a split and its fault if another machine's paths lead two splits to one image.

    An owner may name the same images twice; but paths whose prefix does not exist here may have lost what
    distinguished them.
    """
    for one, other in itertools.combinations(found, 2):
        place = found[other].shortened or found[one].shortened
        if place and (both := found[one].images.keys() & found[other].images.keys()):
            yield (
                other,
                (
                    f"expected images that {one} has not, got {len(both)} of them, such as {min(both).name}, at "
                    f"{place[:200]!r}, a path on another machine whose end is here"
                ),
            )
