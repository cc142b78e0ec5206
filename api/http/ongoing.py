"""Requests in progress by owner: one owner may use at most half of the connections."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.errors import Overloaded
from api.http.connections import BoundedProtocol


class Ongoing:
    """Counts requests in progress; used by one event loop."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    @contextmanager
    def of(self, owner: str | None) -> Iterator[None]:
        """Count a request while the block runs; those of the operator (no owner) are not limited.

        Raises:
            Overloaded: the owner has reached the limit.
        """
        if owner is None:
            yield
            return
        if self._requests[owner] >= BoundedProtocol.most:
            raise Overloaded(f"expected at most {BoundedProtocol.most} requests of {owner} at once, got one more")
        self._requests[owner] += 1
        try:
            yield
        finally:
            self._requests[owner] -= 1
            if not self._requests[owner]:
                del self._requests[owner]
