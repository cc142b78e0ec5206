"""What is logged, as lines of JSON: through the service's own formatter."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from api import journal

Lines = Callable[[], list[dict[str, Any]]]


@contextmanager
def kept(**always: str) -> Iterator[Lines]:
    """Keep what is logged within the block; what is given reads it."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(journal.formatter("json", **always))
    handler.addFilter(lambda record: record.name != "httpx2")  # the test's own client
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
