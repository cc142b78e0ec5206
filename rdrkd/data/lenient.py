"""Drop from a dataset in YOLO layout what `check` would refuse, and report it; this changes the dataset's files."""

from collections.abc import Sequence
from dataclasses import replace

from rdrkd import suffixes
from rdrkd.data import coco
from rdrkd.data.check import Examined, examine, fit, where_in
from rdrkd.data.dataset import Dataset
from rdrkd.data.faults import Faults
from rdrkd.data.frames import Frame
from rdrkd.errors import DatasetError


def clean(dataset: Dataset, faults: Faults) -> None:
    """Remove images that cannot be read or that lose a label, and annotations that do not match the remaining ones.

    An image whose label file cannot be read is also removed: without labels it would teach that there is no object.
    """
    for split, images in dataset.splits.items():
        there = tuple(image for image in images if image.is_file())  # it may have been removed with an earlier split
        whole = replace(dataset, splits={**dataset.splits, split: there})
        examined = [one for one in examine(whole, split) if not _removed(dataset, one, faults)]
        if split in dataset.annotations:
            _clean_annotations(dataset, split, examined, faults)


def _removed(dataset: Dataset, one: Examined, faults: Faults) -> bool:
    """Remove a faulty image, or correct its labels; return whether it was removed."""
    label = dataset.label(one.image)
    whole = {where_in(dataset, label), where_in(dataset, one.image)}  # not a single line of the labels
    unreadable = [problem for problem in one.problems if problem.where in whole]
    if one.size is None or unreadable:
        faults.add("images", [one.problems[0]])
    elif not one.problems:
        return False
    else:
        faults.add("lines", one.problems)
        if not faults.drop_incomplete(where_in(dataset, one.image)):
            rows = (" ".join(map(str, row)) for row in one.labels.rows)
            label.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
            return False
    one.image.unlink()
    shared = any(one.image.with_suffix(suffix).is_file() for suffix in suffixes.IMAGES)  # `a.jpg` beside `a.png`
    if label.is_file() and not shared:
        label.unlink()
    return True


def _clean_annotations(dataset: Dataset, split: str, examined: Sequence[Examined], faults: Faults) -> None:
    """Keep valid entries whose image exists; drop a file that cannot be read.

    An image without a valid entry, or whose labels were corrected, gets one from its labels, with which it must agree.
    """
    file = dataset.annotations[split]
    where, before = where_in(dataset, file), faults.total
    try:
        content = coco.load(file, where)
        labels = coco.labels_of(content, where, dataset.names)
    except DatasetError as error:
        faults.add("files", error.problems[:1])
        file.unlink()
        return
    parsed = coco.parse_content(content, where, dataset.names, labels)
    faults.add("annotations", [*parsed.image_problems, *parsed.annotation_problems])
    fitting, problems = fit(dataset, split, parsed.frames, examined, where, parsed.incomplete)
    faults.add("annotations", problems)
    corrected = {one.image for one in examined if one.problems}
    if faults.total == before and not corrected:
        return
    kept = {
        image: frame
        for image, frame in fitting.items()
        if frame.file not in parsed.incomplete and image not in corrected
    }
    made = {one.image: Frame("", *one.size, tuple(one.boxes)) for one in examined if one.size}
    root = dataset.matching(split).root
    frames = [replace(kept.get(image, frame), file=image.relative_to(root).as_posix()) for image, frame in made.items()]
    coco.write(file, frames, dataset.names)
