"""Leave out of a dataset in YOLO layout what `check` would refuse, and say so; the dataset's own files are changed."""

from collections.abc import Sequence
from pathlib import Path

from rdrkd.data import coco, yolo
from rdrkd.data.check import Examined, examine, mismatches, where_in
from rdrkd.data.dataset import Dataset
from rdrkd.data.faults import Faults
from rdrkd.data.frames import Frame
from rdrkd.errors import DatasetError


def clean(dataset: Dataset, faults: Faults) -> None:
    """Remove images that cannot be read, label lines that are none, and annotations that fit neither.

    An image whose label file cannot be read goes, too: without labels it would teach that there is nothing.
    """
    for split in dataset.splits:
        examined = [one for one in examine(dataset, split) if not _removed(dataset, one, faults)]
        for one in examined:
            if one.problems:
                _clean_labels(yolo.label_path(one.image), len(dataset.names))
                faults.add("lines", one.problems)
        if split in dataset.annotations:
            _clean_annotations(dataset, dataset.annotations[split], examined, faults)


def _removed(dataset: Dataset, one: Examined, faults: Faults) -> bool:
    label = yolo.label_path(one.image)
    unreadable = [problem for problem in one.problems if problem.where == where_in(dataset, label)]
    if one.size is not None and not unreadable:
        return False
    faults.add("images", [one.problems[0]])
    one.image.unlink()
    label.unlink(missing_ok=True)
    return True


def _clean_labels(file: Path, classes: int) -> None:
    kept = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if _is_label(line, classes)]
    file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _is_label(line: str, classes: int) -> bool:
    try:
        yolo.parse_line(line, classes)
    except ValueError:
        return False
    return True


def _clean_annotations(dataset: Dataset, file: Path, examined: Sequence[Examined], faults: Faults) -> None:
    """Keep the annotations that are sound and whose image is here; a file that cannot be read goes as a whole.

    Where an image has no sound entry, its labels make one: it is evaluated all the same.
    """
    where, before = where_in(dataset, file), faults.total
    try:
        content = coco.load(file, where)
        problems = coco.labels_of(where, content["categories"], dataset.names)[1]
    except DatasetError as error:
        problems = list(error.problems)
    if problems:
        faults.add("files", problems[:1])
        file.unlink()
        return
    parsed = coco.parse_content(content, where, dataset.names)
    faults.add("annotations", [*parsed.image_problems, *parsed.annotation_problems])
    here = {one.image.name: one for one in examined}
    by_name = {Path(frame.file).name: frame for frame in parsed.frames}
    faults.add("annotations", mismatches(where, by_name, examined))
    if faults.total == before:
        return
    kept = [frame for name, frame in by_name.items() if name in here and here[name].size == (frame.width, frame.height)]
    told = {Path(frame.file).name for frame in kept}
    made = [Frame(name, *one.size, tuple(one.boxes)) for name, one in here.items() if one.size and name not in told]
    coco.write(file, [*kept, *made], dataset.names)
