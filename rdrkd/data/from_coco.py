"""COCO JSON files of an upload as sources of a dataset: a file for each split, images anywhere in the upload."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePath

from rdrkd.data import coco
from rdrkd.data.conversion import Source, divided, problem, size_fault
from rdrkd.data.data_yaml import SPLITS, checked_names
from rdrkd.data.faults import Faults
from rdrkd.data.formats import SplitAt, json_files, one_each, split_of, splits_in
from rdrkd.data.frames import Frame
from rdrkd.data.layout import images_in
from rdrkd.data.names import ImageNames, Rank
from rdrkd.spec.splitting import Split


def sources(folder: Path, faults: Faults, split: Split | None) -> tuple[tuple[str, ...], Iterator[Source]]:
    """Return the class names, in the order of their ids in the first split's file, and the splits.

    Faults of single images and annotations are added to `faults`.

    Raises:
        DatasetError: train or val is missing, a split is repeated, a file is not COCO JSON, or the categories differ
            between files.
    """
    images = images_in(folder)
    jsons = list(filter(coco.is_coco, json_files(folder)))
    split_at = splits_in(folder, [*jsons, *{image.parent for image in images}], split is not None)
    files = _files(folder, jsons, split, split_at)
    first, *later = (files[of] for of in (*SPLITS, None) if of in files)
    where = first.relative_to(folder).as_posix()
    others = (coco.load(file, file.relative_to(folder).as_posix()) for file in later)
    names = checked_names(coco.classes_of(coco.load(first, where), where, others), f"{where}: categories")
    named: set[Path] = set()
    sources = {
        of: _frames(folder, file, names, ImageNames(images, folder, _rank(of, file, split_at)), faults, named)
        for of, file in files.items()
    }
    if split is not None:
        pool = sources.pop(None) if None in sources else sources.pop("train")
        parts = divided(split, pool, folder)
        rest = (Source(of, frames) for of, frames in sources.items() if of is not None)
        return names, _with_warnings(folder, iter([*parts, *rest]), images, named, faults)
    return names, _with_warnings(
        folder, (Source(of, sources[of]) for of in SPLITS if of in sources), images, named, faults
    )


def _with_warnings(
    folder: Path, found: Iterator[Source], images: Sequence[Path], named: Collection[Path], faults: Faults
) -> Iterator[Source]:
    """Yield the splits; once all are read, warn of images that none of them names."""
    yield from found
    if rest := sorted(set(images) - set(named)):
        example = rest[0].relative_to(folder).as_posix()
        faults.warnings.append(f"skipped {len(rest)} images that no annotation file names, such as {example}")


def _files(folder: Path, jsons: Sequence[Path], split: Split | None, split_at: SplitAt) -> dict[str | None, Path]:
    """Find the file of each split; of COCO's own archives, `instances`, not captions or keypoints."""
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for file in jsons:
        by_split[split_at(file)].append(file)
    for of, files in by_split.items():
        instances = [file for file in files if "instances" in file.stem.lower()]
        by_split[of] = instances or files
    found = [(of, file) for of, files in by_split.items() for file in files]
    _refuse_unread(folder, set(by_split), split_at)
    one_each([(of, file.relative_to(folder).as_posix()) for of, file in found], "a COCO JSON", split)
    return {of: file for of, file in found if of is not None or split is not None}


def _refuse_unread(folder: Path, there: Collection[str | None], split_at: SplitAt) -> None:
    """Raise `DatasetError` for a faulty file that seems meant as the COCO JSON of a split that has no other."""
    for file in json_files(folder):
        of = split_at(file)
        if of in ("train", "val") and of not in there and coco.resembles_coco(file):
            coco.load(file, file.relative_to(folder).as_posix())


def _frames(
    folder: Path,
    file: Path,
    names: Sequence[str],
    images: ImageNames,
    faults: Faults,
    named: set[Path],
) -> Iterator[tuple[Path, Frame]]:
    where = file.relative_to(folder).as_posix()
    content = coco.load(file, where)
    labels = coco.labels_of(content, where, names)
    parsed = coco.parse_content(content, where, names, labels, trainable=True)
    faults.warnings += [f"{where}: {note}" for note in labels.notes()]
    faults.add("images", parsed.image_problems)
    faults.add("annotations", parsed.annotation_problems)
    faults.warnings += parsed.warnings
    matched = images.match([frame.file for frame in parsed.frames])
    for frame, image in zip(parsed.frames, matched, strict=True):
        entry = f"{where}: {frame.file[:200]}"
        if isinstance(image, str):
            faults.add("images", problem(entry, image))
            continue
        named.add(image)
        size, fault = size_fault(image, frame)
        faulty = problem(entry if size is not None else image.relative_to(folder).as_posix(), fault)
        faults.add("images", faulty)
        if faulty or (frame.file in parsed.incomplete and faults.drop_incomplete(entry)):
            continue
        if not (parsed.strays and not frame.boxes and faults.drop_unlabelled(entry, parsed.strays)):
            yield image, frame


def _rank(split: str | None, json: Path, split_at: SplitAt) -> Rank:
    """Rank candidates by the number of matching folders, then images of the split, then those beside the JSON."""

    def rank(image: Path, shared: int) -> tuple[int, ...] | None:
        of = split_at(image.parent)
        # Another split's image of the same name matches only with an explicit folder: `train/a.png` in val.json.
        if split is not None and of not in (None, split) and split_of(_end(image, shared)) != of:
            return None
        return (shared, int(of == split), int(image.parent == json.parent))

    return rank


def _end(image: Path, shared: int) -> PurePath:
    """Return the end of an image's path that a name with `shared` parts matches."""
    return PurePath(*image.parts[len(image.parts) - shared : -1])
