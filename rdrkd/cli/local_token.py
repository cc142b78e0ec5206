"""The token that `rdrkd up` makes for the user who starts it: their commands work on, whatever keys they make.

It lies in a folder of the user's own, named after the service's address, is made anew at each start, and goes when the
service stops. So it is worth nothing to whoever listens at that address later.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit


def token_of(url: str) -> str | None:
    """Return the token for an embedded service of this user; None if none runs at that address."""
    try:
        parts = urlsplit(url)
        place = _place(parts.hostname or "", parts.port or 80)
        mine = parts.scheme == "http" and place.stat().st_uid == os.getuid()
        return (place.read_text().strip() or None) if mine else None
    except (OSError, ValueError):
        return None


@contextmanager
def made(host: str, port: int) -> Iterator[Path | None]:
    """Make the token of a service, and remove it at the end; give its file, or None where none can be written."""
    place = _place(host, port)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.parent.chmod(0o700)
        place.unlink(missing_ok=True)
        place.touch(0o600, exist_ok=False)
        place.write_text(secrets.token_urlsafe(32))
    except OSError:
        yield None
        return
    try:
        yield place
    finally:
        with suppress(OSError):
            place.unlink()


def _place(host: str, port: int) -> Path:
    """Return the file of an address; all names of this machine are one.

    >>> _place("localhost", 8000) == _place("127.0.0.1", 8000)
    True
    """
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    here = host in ("localhost", "::1", "0.0.0.0", "::") or host.startswith("127.")  # noqa: S104 - compared only
    name = "local" if here else host.replace(":", "-")
    return Path(home) / "rdrkd" / "tokens" / f"{name}-{port}"
