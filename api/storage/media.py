"""Content types and security headers of artifacts, which were made from untrusted files, so nothing in them may run."""

from pathlib import PurePosixPath

OPAQUE = "application/octet-stream"
HTML = "text/html; charset=utf-8"
# Other files are opaque bytes, which a browser only saves because of `nosniff`. SVG is omitted on purpose.
MEDIA_TYPES = {
    ".html": HTML,
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".png": "image/png",
    ".zip": "application/zip",
}
# No origin, scripts, forms, windows or requests, because a report shows class names from untrusted uploads.
SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def media_type(name: str) -> str:
    """Return the media type of a file by its name.

    >>> media_type("report.html"), media_type("student.pt")
    ('text/html; charset=utf-8', 'application/octet-stream')
    """
    return MEDIA_TYPES.get(PurePosixPath(name).suffix, OPAQUE)


def guards(name: str) -> dict[str, str]:
    """Return the additional headers that make a file of this name harmless in a browser."""
    return {"Content-Security-Policy": SANDBOX} if media_type(name) == HTML else {}
