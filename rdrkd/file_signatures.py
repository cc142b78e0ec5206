"""Recognise by its first bytes a file whose content is not what its name suggests, and advise what to do."""

import re
from pathlib import Path

LOOKED_AT = 4096  # bytes
_BOM = b"\xef\xbb\xbf"
_PAGES = (b"<!doctype html", b"<html", b"<head")
_PACKED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"), (0, b"Rar!\x1a\x07", "RAR"), (0, b"BZh", "bzip2"), (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
)  # fmt: skip


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file, as many as the functions in this module examine."""
    with path.open("rb") as stream:
        return stream.read(LOOKED_AT)


def placeholder(head: bytes) -> str | None:
    r"""Describe what a failed download or checkout left in place of a file, with advice; None for other content.

    >>> placeholder(b"version https://git-lfs.github.com/spec/v1\nsize 12\n")[:60]
    'a Git LFS pointer to a file of 12 bytes, not the file itself'
    >>> placeholder(b"PK")
    """
    text = head.removeprefix(_BOM).lstrip().lower()
    if not head:
        return "an empty file; export or download it again"
    if text.startswith(b"version https://git-lfs"):
        size = re.search(rb"^size (\d+)$", head, re.MULTILINE)
        to = f" to a file of {int(size[1])} bytes" if size else ""
        return f"a Git LFS pointer{to}, not the file itself; run `git lfs pull` in its repository and use that file"
    if text.startswith(_PAGES):
        return "a web page saved under this name; open the page, and download the file that it links to"
    return None


def packed_as(head: bytes) -> str | None:
    """Return the kind of an archive that this library cannot read; None for any other file."""
    return next((kind for at, mark, kind in _PACKED if head[at : at + len(mark)] == mark), None)
