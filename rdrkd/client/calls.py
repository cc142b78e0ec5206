"""The service's endpoints as calls (see `rdrkd.client.effects`); `rdrkd.client.transfers` has uploads and downloads."""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from rdrkd.client.effects import Answer, Ask, Broken, Call, Sleep
from rdrkd.client.errors import NotEnded, Refused, Unreachable
from rdrkd.client.views import Dataset, Job, Model, Page, Study

TRIES = 6
LONGEST_WAIT = 30.0  # seconds of a long poll
POLL_SECONDS = 1.0
Seen = TypeVar("Seen", Job, Study, Dataset, Model)


def ask(method: str, path: str, **options: Any) -> Call[Answer]:
    """Send a request, with retries; a creating POST carries an idempotency key, so that a retry creates nothing new.

    Raises:
        Refused: the response is a problem, for 429 and 503 after several tries.
        Unreachable: no try was answered.
    """
    if method == "POST":
        options["headers"] = {"Idempotency-Key": uuid.uuid4().hex, **options.get("headers", {})}
    for left in reversed(range(TRIES)):
        try:
            answer: Answer = yield Ask(method, path, **options)
        except Broken as error:
            if not left:
                raise Unreachable(f"expected an answer to {method} {path}, got none: {error}") from error
            yield Sleep(pause(TRIES - left))
            continue
        if answer.status in (429, 503) and left:
            yield Sleep(_retry_after(answer) or pause(TRIES - left))
            continue
        return refuse(answer)
    raise AssertionError


def refuse(answer: Answer) -> Answer:
    """Return the response unless it is a problem.

    Raises:
        Refused: it is a problem.
    """
    if answer.status < 400:
        return answer
    try:
        document = answer.json()
    except ValueError:  # a proxy, for example, answered instead of the service
        document = {}
    raise Refused(answer.status, document if isinstance(document, dict) else {})


def pause(tried: int) -> float:
    """Return the delay before the next try, seconds: 0.2, 0.4, ... 6.4."""
    return float(min(0.1 * 2**tried, 6.4))


def _retry_after(answer: Answer) -> float | None:
    given = answer.headers.get("retry-after", "")
    return min(float(given), 60.0) if given.isdecimal() else None


def one(view: Callable[[Any], Seen], method: str, path: str, json: Any = None) -> Call[Seen]:
    """Send a request, and return its response as a `view`."""
    answer = yield from ask(method, path, json=json)
    return view(answer.json())


def imported(source: str, name: str | None, words: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of the request that imports a dataset from a source.

    >>> imported("s3://surveys/may", None, {"divide": "val=0.2"})
    ('/v1/datasets/from-bucket', {'url': 's3://surveys/may', 'name': None, 'divide': 'val=0.2'})
    """
    kind, field = ("bucket", "url") if source.startswith("s3://") else ("folder", "folder")
    return f"/v1/datasets/from-{kind}", {field: source, "name": name, **words}


def words(lenient: bool, keep: bool, divide: str | None) -> dict[str, Any]:
    """Return the options for reading a dataset that differ from the defaults.

    >>> words(True, False, None)
    {'lenient': True}
    """
    said = {"lenient": lenient, "keep": keep, "divide": divide}
    return {key: value for key, value in said.items() if value}


def plain(path: str) -> Call[Any]:
    """Get a resource as plain JSON."""
    return (yield from ask("GET", path)).json()


def page(path: str, filters: Mapping[str, Any], after: str | None) -> Call[Page]:
    """Read one page of a list."""
    params = {key: value for key, value in {**filters, "after": after}.items() if value is not None}
    return Page.model_validate((yield from ask("GET", path, params=params)).json())


def wait(
    path: str, view: Callable[[Any], Seen], timeout: float | None, news: Callable[[Seen], None] | None
) -> Call[Seen]:
    """Poll a resource until it has ended.

    Args:
        path: the resource's path.
        view: its type.
        timeout: seconds; None: no limit.
        news: called with each new state, including the last one.

    Raises:
        NotEnded: the timeout has expired.
    """
    end = time.monotonic() + timeout if timeout is not None else None
    etag: str | None = None
    while True:
        left = LONGEST_WAIT if end is None else min(LONGEST_WAIT, max(0.0, end - time.monotonic()))
        asked = time.monotonic()
        headers = {"If-None-Match": etag} if etag is not None else {}
        answer = yield from ask("GET", path, params={"wait": int(left)} if etag else {}, headers=headers)
        if answer.status != 304:
            seen, etag = view(answer.json()), answer.headers.get("etag")
            if news is not None:
                news(seen)
            if seen.ended:
                return seen
        if end is not None and time.monotonic() >= end:
            raise NotEnded(f"expected {path} to end within {timeout:g} s, but it continues")
        if time.monotonic() - asked < POLL_SECONDS:
            yield Sleep(POLL_SECONDS if end is None else min(POLL_SECONDS, max(0.0, end - time.monotonic())))


def share_of(kind: str, id_: str, reader: str | None = None) -> str:
    """Return the path of a dataset's or model's share, or of all its shares.

    >>> share_of("dataset", "ds_1", "survey team"), share_of("model", "n-from-l")
    ('/v1/datasets/ds_1/shares/survey%20team', '/v1/models/n-from-l/shares')
    """
    path = f"/v1/{kind}s/{quote(id_, safe='@')}/shares"
    return path if reader is None else f"{path}/{quote(reader, safe='*@')}"
