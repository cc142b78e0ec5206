"""One way to match the file names of annotations with the images that are there: composed, by the longest path."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath, PurePosixPath

Key = tuple[str, ...]
Rank = Callable[[Path, int], tuple[int, ...] | None]


class ImageNames:
    """Images by the ends of their paths; a Mac's decomposed names and Windows' separators are the same names.

    Args:
        images: their paths.
        root: the folder from which a match's folders are counted.
        rank: given an image and how many last parts it shares with a name, return what decides between candidates, the
            larger the better, or None to rule the image out; by default the number of shared parts.
    """

    def __init__(self, images: Iterable[Path], root: Path, rank: Rank | None = None) -> None:
        self.root, self._rank = root, rank or (lambda _image, shared: (shared,))
        self._by_name: dict[str, list[tuple[Key, Path]]] = defaultdict(list)
        for image in images:
            parts = key(image.relative_to(root))
            self._by_name[parts[-1]].append((parts, image))

    def match(self, names: Sequence[str]) -> list[Path | str]:
        """Return, for each name, the image that it means, or why it means none; no image is given twice.

        Args:
            names: as annotations write them: with any number of folders, or none.
        """
        found = [self._best(name) for name in names]
        claims: dict[Path, list[tuple[tuple[int, ...], int]]] = defaultdict(list)
        for index, best in enumerate(found):
            if not isinstance(best, str):
                claims[best[1]].append((best[0], index))
        matched = [best if isinstance(best, str) else best[1] for best in found]
        for claimed in claims.values():
            first = max(order for order, _ in claimed)
            tied = sum(order == first for order, _ in claimed) > 1
            for order, index in claimed:
                if tied:
                    matched[index] = f"expected one entry for an image, got {len(claimed)}"
                elif order < first:
                    matched[index] = "expected an image of this name, got none but one that another entry names"
        return matched

    def _best(self, name: str) -> tuple[tuple[int, ...], Path] | str:
        wanted = key(PurePosixPath(name.replace("\\", "/")))
        ranked = []
        for parts, image in self._by_name.get(wanted[-1], []) if wanted else []:
            order = self._rank(image, _shared(parts, wanted))
            if order is not None:
                ranked.append(((*order, int(parts == wanted)), image))
        if not ranked:
            return "expected an image of this name, got none"
        best = max(order for order, _ in ranked)
        first = [image for order, image in ranked if order == best]
        if len(first) > 1:
            places = ", ".join(image.relative_to(self.root).as_posix() for image in sorted(first)[:3])
            return f"expected a name that means one image, got one of {len(first)}: {places}"
        return best, first[0]


def image_names(images: Sequence[Path]) -> ImageNames:
    """Return what finds the images of one split: folders count from the deepest one that holds all of them."""
    return ImageNames(images, Path(os.path.commonpath([image.parent for image in images])))


def relative_names(images: Sequence[Path], folder: Path) -> list[str]:
    """Return images by the paths that they have in a folder."""
    return [image.relative_to(folder).as_posix() for image in images]


def key(path: PurePath) -> Key:
    """Return a path's parts, composed (NFC), without those that lead nowhere.

    >>> key(PurePosixPath("./a/cafe\u0301.png")) == ("a", "caf\u00e9.png")
    True
    """
    return tuple(composed(part) for part in path.parts if part not in (".", "/"))


def composed(text: str) -> str:
    """Return a name in the one Unicode form (NFC) in which names are compared."""
    return unicodedata.normalize("NFC", text)


def _shared(place: Key, wanted: Key) -> int:
    """Count the last parts that two paths share."""
    number = 0
    for one, other in zip(reversed(place), reversed(wanted), strict=False):
        if one != other:
            break
        number += 1
    return number
