"""Match a Pascal VOC annotation with its image: by stem in the most similar folder, else by the name that it gives."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from rdrkd.data.names import ImageNames, Key, key, shared_end
from rdrkd.data.voc import Annotation


class Matching:
    """Finds the images of annotations.

    If a stem occurs in two folders, an annotation belongs to the image with the same folders, apart from one that holds
    only annotations and one that holds none (`Annotations/cam1` and `JPEGImages/cam1`).
    """

    def __init__(self, images: Sequence[Path], annotations: Sequence[Path], folder: Path) -> None:
        self._folder, self._names = folder, ImageNames(images, folder)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            self._by_stem[_place(image, folder)[-1]].append(image)
        stems = [_place(file, folder)[-1] for file in annotations]
        self._strict = len(set(stems)) < len(stems) or any(len(alike) > 1 for alike in self._by_stem.values())
        self._of_images = {image.parent for image in images}
        self._of_annotations = {file.parent for file in annotations}

    def image_of(self, annotation: Annotation) -> Path | str:
        """Return the image of an annotation, or why there is none."""
        place = _place(annotation.file, self._folder)
        alike = self._by_stem.get(place[-1], [])
        ranked = [(self._likeness(image, annotation.file), image) for image in alike if self._fits(image, annotation)]
        if ranked:
            best = max(order for order, _ in ranked)
            first = [image for order, image in ranked if order == best]
            return first[0] if len(first) == 1 else f"expected one image of the name {place[-1]}, got {len(first)}"
        if alike:
            came = ", ".join(image.relative_to(self._folder).as_posix() for image in sorted(alike)[:3])
            return f"expected an image of the name {place[-1]} in a folder alike, got {came}"
        if not annotation.filename:
            return f"expected an image of the name {place[-1]}, or a <filename>, got neither"
        return self._names.match([annotation.filename])[0]

    def _fits(self, image: Path, annotation: Annotation) -> bool:
        if not self._strict or image.parent == annotation.file.parent:
            return True
        there, here = _place(image, self._folder), _place(annotation.file, self._folder)
        same = _shared_start(there, here) + shared_end(there, here)
        apart = annotation.file.parent not in self._of_images and image.parent not in self._of_annotations
        return apart and max(len(there), len(here)) - same <= 1

    def _likeness(self, image: Path, file: Path) -> tuple[int, int, bool]:
        there, here = _place(image, self._folder), _place(file, self._folder)
        return (shared_end(there, here), _shared_start(there[:-1], here[:-1]), image.parent == file.parent)


def _place(file: Path, folder: Path) -> Key:
    return key(file.relative_to(folder).with_suffix(""))


def _shared_start(one: Iterable[str], other: Iterable[str]) -> int:
    return shared_end(tuple(one)[::-1], tuple(other)[::-1])
