"""Logging of API, reaper and workers: one line per record, as text or JSON.

Everything logs through the standard library, so that lines of uvicorn, Celery and SQLAlchemy have the same form.
The subject of lines (a request, a job) is bound once when its processing starts, and is then on every line of that
thread or task. API keys are logged by id; keys, queries and bodies are not logged.
"""

import logging
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from typing import Any
from uuid import uuid4

import structlog
from opentelemetry import trace
from structlog.contextvars import bound_contextvars, get_contextvars, merge_contextvars
from structlog.types import EventDict, Processor

from api.settings import LogFormat, Settings

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,40}")  # the length of the audit log's column
_OF_REQUESTS = ("method", "route", "status", "duration_ms", "key", "job_id")  # fields of a request's line
_SECRETS = [
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), "whsec_***"),
    (re.compile(r"\b(rdr_[A-Za-z0-9]+_)[A-Za-z0-9_-]+"), r"\1***"),
    (re.compile(r"(://[^/:@\s]*:)\S+(?=@)"), r"\1***"),  # a URL with a password
    (re.compile(r"^(DETAIL:\s+).*$", re.MULTILINE), r"\1***"),  # PostgreSQL shows the values of a rejected row
]
_QUIET = ("httpx2", "httpcore2")  # they log whole URLs, and a webhook's URL may contain a secret


def set_up(settings: Settings, **always: str) -> None:
    """Write this process's log to standard error, with the fields `always` on every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings.log_format, colors=sys.stderr.isatty(), **always))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def formatter(form: LogFormat, colors: bool = False, **always: str) -> logging.Formatter:
    """Return the formatter of log records."""

    def add_always(_logger: Any, _method: str, line: EventDict) -> EventDict:
        line.update(always)
        return line

    last: Processor = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time", pad_event_to=0)
    if form == "json":
        last = structlog.processors.JSONRenderer(default=str)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=_OF_REQUESTS),
            merge_contextvars,
            _add_trace,
            add_always,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # without the values of variables, which may be secret
            _redact,
            last,
        ],
    )


def redacted(text: str) -> str:
    r"""Return a text without the secrets that libraries write to their messages.

    >>> redacted("whsec_c2VjcmV0 rdr_0a1b_s3cret redis://:pw@host/0 postgresql://rdrkd:p@w@host/x")
    'whsec_*** rdr_0a1b_*** redis://:***@host/0 postgresql://rdrkd:***@host/x'
    >>> redacted("psycopg.errors.CheckViolation: new row violates x\nDETAIL:  Failing row contains (1, s).\nat y")
    'psycopg.errors.CheckViolation: new row violates x\nDETAIL:  ***\nat y'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def request_id_of(given: str | None) -> str:
    """Return the request's own id if it is well-formed, else a new one.

    >>> request_id_of("7f3a-2b.x"), request_id_of("a b")[:4], request_id_of("x" * 41)[:4], request_id_of(None)[:4]
    ('7f3a-2b.x', 'req_', 'req_', 'req_')
    """
    return given if given is not None and _GIVEN.fullmatch(given) else f"req_{uuid4().hex}"


def about(**fields: str | int | None) -> AbstractContextManager[None]:
    """Bind fields to all log lines within the block, except those that are None."""
    return bound_contextvars(**{name: value for name, value in fields.items() if value is not None})


def current_request() -> str | None:
    """Return the id of the request that this thread or task is processing."""
    found: str | None = get_contextvars().get("request_id")
    return found


def carrying(run: Callable[..., object]) -> Callable[..., object]:
    """Run a thread's function in the log context of the caller."""
    context: Context = copy_context()
    return lambda *given: context.run(run, *given)


def _redact(_logger: Any, _method: str, line: EventDict) -> EventDict:
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = redacted(value)
    return line


def _add_trace(_logger: Any, _method: str, line: EventDict) -> EventDict:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line["trace_id"], line["span_id"] = trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)
    return line
