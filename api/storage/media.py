"""As what each kind of file is served. Whatever wrote it has read strangers' files, so nothing in it may run."""

from pathlib import PurePosixPath

OPAQUE = "application/octet-stream"
HTML = "text/html; charset=utf-8"
# What is not listed is opaque: with `nosniff` a browser then saves it, whatever it holds. SVG is left out on purpose.
MEDIA_TYPES = {
    ".html": HTML,
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".png": "image/png",
    ".zip": "application/zip",
}
# A page of no origin, without scripts, forms and windows, that loads nothing: a report shows strangers' class names.
SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def media_type(name: str) -> str:
    """Return the media type of a file by its name.

    >>> media_type("report.html"), media_type("student.pt")
    ('text/html; charset=utf-8', 'application/octet-stream')
    """
    return MEDIA_TYPES.get(PurePosixPath(name).suffix, OPAQUE)


def guards(name: str) -> dict[str, str]:
    """Return the headers that keep a file of this name harmless in a browser, beside those of every answer."""
    return {"Content-Security-Policy": SANDBOX} if media_type(name) == HTML else {}
