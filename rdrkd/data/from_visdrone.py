"""VisDrone folders of an upload as sources of a dataset."""

from collections.abc import Iterator
from pathlib import Path

from rdrkd.data import visdrone
from rdrkd.data.conversion import Source, divided
from rdrkd.data.data_yaml import SPLITS
from rdrkd.data.faults import Faults
from rdrkd.data.formats import one_each, splits_in, visdrone_folders
from rdrkd.spec.splitting import Split


def sources(folder: Path, faults: Faults, split: Split | None) -> tuple[tuple[str, ...], Iterator[Source]]:
    """Return the class names and the splits; add faults of single images and lines to `faults`.

    Raises:
        DatasetError: train or val is missing, or a split is repeated.
    """
    pairs = list(visdrone_folders(folder))
    split_at = splits_in(folder, [place for pair in pairs for place in pair], split is not None)
    found = [(split_at(annotations), images, annotations) for images, annotations in pairs]
    one_each([(of, a.relative_to(folder).as_posix()) for of, _, a in found], "a VisDrone folder of annotations", split)
    ordered = [(of, images, a) for which in (*SPLITS, None) for of, images, a in found if of == which]
    sources = {of: visdrone.frames_in(folder, images, annotations, faults) for of, images, annotations in ordered}
    if split is not None:
        pool = sources.pop(None) if None in sources else sources.pop("train")
        parts = divided(split, pool, folder)
        return visdrone.NAMES, iter([*parts, *(Source(of, frames) for of, frames in sources.items() if of is not None)])
    return visdrone.NAMES, (Source(of, frames) for of, frames in sources.items() if of is not None)
