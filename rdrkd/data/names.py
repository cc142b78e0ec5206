"""Match the file names in annotations with existing images: composed (NFC), by the longest path."""

import itertools
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath, PurePosixPath

Key = tuple[str, ...]
NO_IMAGE = "expected an image of this name, got none"
Rank = Callable[[Path, int], tuple[int, ...] | None]


class ImageNames:
    """Images by the ends of their paths; decomposed names (Mac) and Windows' separators are normalised.

    Args:
        images: their paths.
        root: the folder from which a match's folders are counted.
        rank: given an image and the number of last parts that it shares with a name, return its rank among candidates
            (larger is better), or None to exclude it; by default the number of shared parts.
        suffixes: whether names end with the suffix of their image.
    """

    def __init__(self, images: Iterable[Path], root: Path, rank: Rank | None = None, suffixes: bool = True) -> None:
        self.root, self._rank = root, rank or (lambda _image, shared: (shared,))
        self._by_name: dict[str, list[tuple[Key, Path]]] = defaultdict(list)
        for image in images:
            place = image.relative_to(root)
            parts = key(place if suffixes else place.with_name(place.stem))
            self._by_name[parts[-1]].append((parts, image))
        self._repeated = any(self._are_rivals(images) for images in self._by_name.values())

    def knows(self, name: str) -> bool:
        """Return whether any image ends with the last part of a name."""
        wanted = _key_of(name)
        return bool(wanted) and wanted[-1] in self._by_name

    def match(self, names: Sequence[str]) -> list[Path | str]:
        """Return, for each name, its image, or why it has none; no image is returned twice.

        Args:
            names: as in annotations, with any number of folders.
        """
        wanted = [_key_of(name) for name in names]
        # If a name occurs in two folders, its last part alone is ambiguous: another camera's frame may have it.
        strict = self._repeated or len({parts[-1:] for parts in wanted}) < len(set(wanted))
        found = [self._best(parts, strict) for parts in wanted]
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

    def _are_rivals(self, images: Sequence[tuple[Key, Path]]) -> bool:
        """Return whether a name is ambiguous among its images."""
        return len(images) > 1 and sum(self._rank(image, 1) is not None for _, image in images) > 1

    def _best(self, wanted: Key, strict: bool) -> tuple[tuple[int, ...], Path] | str:
        ranked = []
        for parts, image in self._by_name.get(wanted[-1], []) if wanted else []:
            shared = shared_end(parts, wanted)
            order = self._rank(image, shared)
            if order is not None and not (strict and shared == 1 < min(len(parts), len(wanted))):
                ranked.append(((*order, int(parts == wanted)), image))
        if not ranked:
            return NO_IMAGE
        best = max(order for order, _ in ranked)
        first = [image for order, image in ranked if order == best]
        if len(first) > 1:
            places = ", ".join(image.relative_to(self.root).as_posix() for image in sorted(first)[:3])
            return f"expected a name that means one image, got one of {len(first)}: {places}"
        return best, first[0]


def image_names(images: Sequence[Path]) -> ImageNames:
    """Return a matcher of one split's images; folders count from the deepest one that holds all of them."""
    return ImageNames(images, Path(os.path.commonpath([image.parent for image in images])))


def relative_names(images: Sequence[Path], folder: Path) -> list[str]:
    """Return the paths of images relative to a folder."""
    return [image.relative_to(folder).as_posix() for image in images]


def key(path: PurePath) -> Key:
    """Return a path's parts, composed (NFC), without redundant ones.

    >>> key(PurePosixPath("./a/cafe\u0301.png")) == ("a", "caf\u00e9.png")
    True
    """
    return tuple(composed(part) for part in path.parts if part not in (".", "/"))


def composed(text: str) -> str:
    """Return a name in the Unicode form in which names are compared (NFC)."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Return a name as case-insensitive file systems (Windows, Mac) compare it: composed, letter by letter.

    Unlike `str.casefold`, this distinguishes what those file systems distinguish.

    >>> folded("Cafe\u0301.JPG") == folded("caf\u00e9.jpg"), folded("stra\u00dfe") == folded("strasse")
    (True, False)
    """
    return text.lower() if text.isascii() else "".join(_folded(character) for character in composed(text))


def shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the last parts that two paths share.

    >>> shared_end(("a", "b", "c"), ("x", "b", "c"))
    2
    """
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _folded(character: str) -> str:
    """Return a letter's case-folded form if that is one letter; file systems do not apply longer ones."""
    return next((form for form in (character.casefold(), character.lower()) if len(form) == 1), character)


def _key_of(name: str) -> Key:
    return key(PurePosixPath(name.replace("\\", "/")))
