"""Valid keys: plain names joined by `/`, so that no key leads out of the store."""

import re

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SUFFIX = re.compile(r"\.[a-z0-9]+")


def checked(key: str) -> str:
    """Return a valid key unchanged; no part of one starts with a dot, so `..` cannot occur.

    Raises:
        ValueError: it is not a valid key.

    >>> checked("jobs/job_1/attempt-1/final/report.html")
    'jobs/job_1/attempt-1/final/report.html'
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"expected a key of plain names joined by /, got {key!r}")
    return key


def upload_key(sha256: str, suffix: str) -> str:
    """Return the key of an upload with this content.

    Raises:
        ValueError: the suffix is not plain.

    >>> upload_key("e3b0", ".zip")
    'uploads/e3b0.zip'
    """
    if not _SUFFIX.fullmatch(suffix):
        raise ValueError(f"expected a suffix such as .zip, got {suffix!r}")
    return f"uploads/{sha256}{suffix}"
