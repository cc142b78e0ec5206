"""Text files in UTF-8, or in UTF-16 with a byte order mark, as Notepad and PowerShell write."""

import codecs
from pathlib import Path

_LONGEST = 400  # characters of a first line


def text_of(file: Path) -> str:
    """Return a file's text without its byte order mark, lines ended by line feeds.

    Raises:
        UnicodeDecodeError: it is neither UTF-8, nor UTF-16 with a byte order mark.
    """
    return file.read_text(encoding=_encoding(file))


def first_line(file: Path) -> str:
    """Return the beginning of the first line, whatever the encoding."""
    with file.open(encoding=_encoding(file), errors="replace") as stream:
        return stream.readline(_LONGEST).strip()


def _encoding(file: Path) -> str:
    with file.open("rb") as stream:
        mark = stream.read(2)
    return "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
