"""Pascal VOC's lists of a split's images, `ImageSets/Main/train.txt` and the like."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rdrkd.data.faults import Faults
from rdrkd.data.formats import WORDS
from rdrkd.data.names import NO_IMAGE, ImageNames
from rdrkd.data.text_files import text_of
from rdrkd.errors import DatasetError, Problem

_BOTH = "trainval"  # VOC's name for train and val together


def read_lists(folder: Path, images: Sequence[Path], faults: Faults) -> dict[Path, str]:
    """Return the split of each listed image; empty without lists.

    Entries match images by the longest path, with or without suffix. Without a list of `train`, its images are those of
    `trainval` that no list of `val` contains.

    Raises:
        DatasetError: a split has two lists, a list is not text, or an image is in the lists of two splits.
    """
    files = _files(folder)
    if not files:
        return {}
    names = ImageNames(images, folder, suffixes=False)
    listed = {of: _listed(file, folder, names, faults) for of, file in files.items()}
    both = listed.pop(_BOTH, [])
    if "train" not in listed:
        if both:
            faults.warnings.append(f"{_name(folder, files[_BOTH])}: read as the images of train")
        others = {image for images in listed.values() for image in images}
        listed["train"] = [image for image in both if image not in others]
    found: dict[Path, str] = {}
    for of, members in listed.items():
        for image in members:
            if found.setdefault(image, of) != of:
                came = f"{_name(folder, image)} in {found[image]} and {of}"
                raise DatasetError(f"expected each image in one list of ImageSets, got {came}")
    return found


def _files(folder: Path) -> dict[str, Path]:
    """Return the list of each split, preferably from `Main`: other folders list segmentations or layouts."""
    by_split: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.rglob("*")):
        word = file.stem.lower()
        of = WORDS.get(word, word if word == _BOTH else None)
        places = [part.lower() for part in file.relative_to(folder).parts[:-1]]
        if of is not None and file.suffix.lower() == ".txt" and "imagesets" in places and file.is_file():
            by_split[of].append(file)
    chosen = {}
    for of, files in by_split.items():
        main = [file for file in files if file.parent.name.lower() == "main"] or files
        if len(main) > 1:
            came = ", ".join(_name(folder, file) for file in main[:5])
            raise DatasetError(f"expected one ImageSets list of {of}, got {len(main)}: {came}")
        chosen[of] = main[0]
    return chosen


def _listed(file: Path, folder: Path, names: ImageNames, faults: Faults) -> list[Path]:
    """Return the images of a list; count entries without an image, and report ambiguous ones as faults."""
    where = _name(folder, file)
    try:
        text = text_of(file)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: expected a list in UTF-8 or UTF-16, got: {error}") from error
    entries = {_entry(line.strip(), names): line.strip() for line in text.split("\n") if line.strip()}
    found = dict(zip(entries.values(), names.match(list(entries)), strict=True))
    missing = [line for line, image in found.items() if image == NO_IMAGE]
    if missing:
        faults.warnings.append(
            f"{where}: {len(missing)} entries name no image with an XML file, such as {missing[0][:200]}"
        )
    for line, image in found.items():
        if isinstance(image, str) and image != NO_IMAGE:
            faults.add("lines", [Problem(f"{where}: {line[:200]}", image)])
    return [image for image in found.values() if isinstance(image, Path)]


def _entry(line: str, names: ImageNames) -> str:
    """Return the image name in a line, without its suffix and the class flag (`-1`, `0`, `1`)."""
    plain = re.sub(r"\s+(-1|0|1)$", "", line)
    forms = (line, _without_suffix(line), plain, _without_suffix(plain))
    return next((form for form in forms if names.knows(form)), line)


def _without_suffix(line: str) -> str:
    return re.sub(r"(?<=[^/\\])\.[^./\\]+$", "", line)


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()
