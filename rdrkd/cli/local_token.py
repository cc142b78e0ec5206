"""The token that `rdrkd up` creates for its user, so that local commands keep working after API keys are created.

It is stored in a private folder of the user, under the service's address, is replaced at each start, and is removed
when the service stops. So it is useless to another process that listens at that address later.
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
    """Create the token of a service, and remove it at the end; yield its file, or None if none can be written."""
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
    """Return the token file of an address; all names of this machine share one file.

    >>> _place("localhost", 8000) == _place("127.0.0.1", 8000)
    True
    """
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    here = host in ("localhost", "::1", "0.0.0.0", "::") or host.startswith("127.")  # noqa: S104 - only compared
    name = "local" if here else host.replace(":", "-")
    return Path(home) / "rdrkd" / "tokens" / f"{name}-{port}"
