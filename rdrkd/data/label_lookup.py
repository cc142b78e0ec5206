"""Find the label file of an image by the image's name, compared in composed form (NFC) as on a Mac."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from rdrkd import suffixes
from rdrkd.data.names import composed, folded
from rdrkd.data.yolo import label_path


class LabelFiles:
    """Finds label files.

    Args:
        home: for an upload, its unpacked folder: a folder `images` above it is not part of the dataset.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        self._listed: dict[Path, Mapping[str, list[Path]]] = {}  # folder -> folded name -> paths

    def of(self, image: Path) -> Path:
        """Return the path of an image's label file, existing or not."""
        return self.named(label_path(image, self._home), image)

    def named(self, place: Path, image: Path) -> Path:
        """Return a file by its path, or the one beside it whose name differs only in Unicode composition."""
        if place.is_file():
            return place
        same = [file for file in self._alike(place) if composed(file.name) == composed(place.name)]
        return next((file for file in same if not _is_of_another(file, image)), place)

    def misnamed(self, image: Path) -> Path | None:
        """Return a misnamed label file of an image: `a.TXT`, which Windows accepts, or `a.png.txt`."""
        place = self.of(image)
        if place.is_file():
            return None
        after_all = self.named(place.with_name(f"{image.name}.txt"), image)
        if after_all.is_file():
            return after_all
        return next((file for file in self._alike(place) if not _is_of_another(file, image)), None)

    def _alike(self, place: Path) -> list[Path]:
        if place.parent not in self._listed:
            found: dict[str, list[Path]] = defaultdict(list)
            for file in place.parent.iterdir() if place.parent.is_dir() else ():
                if file.is_file():
                    found[folded(file.name)].append(file)
            self._listed[place.parent] = found
        return self._listed[place.parent].get(folded(place.name), [])


def _is_of_another(file: Path, image: Path) -> bool:
    """Return whether a label file has exactly the name of another image beside this one."""
    if file.suffix != ".txt" or file.stem == image.stem:
        return False
    return any(image.with_name(file.stem + suffix).is_file() for suffix in suffixes.IMAGES)
