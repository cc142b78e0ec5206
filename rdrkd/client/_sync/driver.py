# Generated from rdrkd/client/_async by `make client`: edit there.
"""The driver: performs the effects of the client's calls, which are requests, pauses, and file reads and writes."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from rdrkd.client import blocking, calls
from rdrkd.client.effects import CHUNK, Answer, Ask, Broken, Call, Piece, Sleep, elsewhere
from rdrkd.client.errors import Unreachable
from rdrkd.client.wire import TIMEOUT, headers_of, is_local

T = TypeVar("T")


class Driver:
    """A connection to the service, and the loop that runs a call over it.

    Args:
        url: the service's base URL.
        token: the service's token or an API key; None for a local service that needs none.
        transport: transport for the requests, such as an ASGI application; default: a new connection.
        headers: additional headers for every request.
        patient: whether to wait and retry if the service is busy or does not answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        headers: Mapping[str, str] | None = None,
        patient: bool = True,
    ) -> None:
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        by_proxy = transport is None and not is_local(url)  # use the environment's proxies
        self._http = httpx2.Client(base_url=url, headers=sent, timeout=TIMEOUT, trust_env=by_proxy, transport=transport)
        self._patient = patient

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            page = self._run(calls.page(path, filters, after))
            for row in page.data:
                yield row
            if (after := page.next) is None:
                return

    def _run(self, call: Call[T]) -> T:
        """Perform each effect of a call, and return the call's result."""
        try:
            wish = next(call)
            while True:
                try:
                    result = self._perform(wish)
                except (httpx2.TransportError, Broken) as error:
                    wish = call.throw(Broken(f"{type(error).__name__}: {error}"))
                else:
                    wish = call.send(result)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            call.close()  # so that a cancelled task leaves no file open

    def _perform(self, wish: Ask | Sleep) -> Answer | None:
        if isinstance(wish, Sleep):
            if not self._patient:
                raise Unreachable("expected a service that answers and is not busy, got no answer yet")
            blocking.sleep(wish.seconds)
            return None
        body = {"content": _chunks(wish.piece)} if wish.piece else {"json": wish.json} if wish.json is not None else {}
        with self._http.stream(
            wish.method, wish.path, params=dict(wish.params), headers=headers_of(wish), **body
        ) as answer:
            onward = elsewhere(wish, answer.status_code, answer.headers)
            if onward is None:
                return _take(wish, answer)
        address, headers = onward
        with (
            httpx2.Client(timeout=TIMEOUT, trust_env=not is_local(address)) as other,  # sends no key
            other.stream("GET", address, headers=headers) as content,
        ):
            if not content.is_success:  # for example an expired URL: the service returns a new one
                raise Broken(f"{httpx2.URL(address).host} answered {content.status_code}")
            taken = _take(wish, content)
        return Answer(taken.status, answer.headers, taken.content)


def _take(wish: Ask, answer: httpx2.Response) -> Answer:
    """Read a response's body into the wish's sink, or into memory."""
    if wish.sink is None or not answer.is_success:
        return Answer(answer.status_code, answer.headers, answer.read())
    file, done = wish.sink(answer.status_code, answer.headers), 0
    for chunk in answer.iter_bytes(CHUNK):
        blocking.to_thread(file.write, chunk)
        done += len(chunk)
        if wish.progress is not None:
            wish.progress(done)
    return Answer(answer.status_code, answer.headers, b"")


def _chunks(piece: Piece) -> Iterator[bytes]:
    piece.file.seek(piece.offset)
    done = piece.offset
    while chunk := blocking.to_thread(piece.file.read, CHUNK):
        yield chunk
        done += len(chunk)
        if piece.progress is not None:
            piece.progress(done, piece.length)
