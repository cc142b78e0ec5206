"""Download one file, bounded in bytes and time, following redirects only to servers that its source uses."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

MOST_BYTES = 400 << 20  # the largest official detector has 131 MB
MOST_SECONDS = 900.0
_STALL_SECONDS, _CONNECT_SECONDS = 30.0, 10.0
_MOST_REDIRECTS = 5
_TRIES = 3
# Other servers to which a source may redirect.
_REDIRECTS = {"github.com": (".githubusercontent.com",)}


class DownloadError(Exception):
    """The file cannot be downloaded; the message tells what happened instead."""


class _Passing(DownloadError):
    """A transient failure, worth a retry."""


def download(url: str, target: Path, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS) -> None:
    """Download a file, overwriting the target, and sync it to the disk.

    Raises:
        DownloadError: it cannot be downloaded completely; the target may hold a part of it.
        OSError: the target cannot be written.
    """
    until = time.monotonic() + most_seconds
    for tries in range(1, _TRIES + 1):
        try:
            _try(url, target, most_bytes, until)
            return
        except _Passing:
            if tries == _TRIES or time.monotonic() > until:
                raise
            time.sleep(0.5 * tries)


def shown(url: str) -> str:
    """Return a URL without its potentially secret parts: user, password, query.

    >>> shown("https://me:secret@files.example/weights/yolov8n.pt?key=1")
    'https://files.example/weights/yolov8n.pt'
    """
    import httpx2

    parsed = httpx2.URL(url)
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.scheme}://{parsed.host}{port}{parsed.path}"


def _try(url: str, target: Path, most_bytes: int, until: float) -> None:
    import httpx2

    try:
        source = place = httpx2.URL(url)
        with httpx2.Client(timeout=httpx2.Timeout(_STALL_SECONDS, connect=_CONNECT_SECONDS)) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                with client.stream("GET", place, headers={"Accept-Encoding": "identity"}) as answer:
                    if not answer.has_redirect_location:
                        _write(answer, target, most_bytes, until)
                        return
                    place = _allowed(source, place, answer.headers["location"])
    except httpx2.InvalidURL as error:
        raise DownloadError(f"no URL: {error}") from error
    except httpx2.TransportError as error:
        raise _Passing(f"{type(error).__name__}: {error}") from error
    raise DownloadError(f"more than {_MOST_REDIRECTS} redirects")


def _allowed(source: "httpx2.URL", place: "httpx2.URL", location: str) -> "httpx2.URL":
    """Return the target of a redirect.

    Raises:
        DownloadError: the target is not one of the source's servers, or leaves TLS.
    """
    target = place.join(location)
    own = (target.host, target.port) == (source.host, source.port)
    partner = target.host.endswith(_REDIRECTS.get(source.host, ()))
    if target.scheme == source.scheme and (own or (partner and target.port is None)):
        return target
    raise DownloadError(f"a redirect to {shown(str(target))[:200]}, which is none of its servers")


def _write(answer: "httpx2.Response", target: Path, most_bytes: int, until: float) -> None:
    if answer.status_code != 200:
        kind = _Passing if answer.status_code in (429, 500, 502, 503, 504) else DownloadError
        raise kind(f"HTTP status {answer.status_code}")
    with target.open("wb") as file:
        for chunk in answer.iter_raw():
            if file.tell() + len(chunk) > most_bytes:
                raise DownloadError(f"more than {most_bytes >> 20} MiB")
            if time.monotonic() > until:
                raise DownloadError(f"only {file.tell()} bytes in the time that a download has")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
