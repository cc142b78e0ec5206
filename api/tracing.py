"""Traces, if the extra `otel` is installed and `OTEL_*` variables set a destination.

FastAPI creates the spans of requests itself once there is a provider. Celery's messages carry the trace to the worker,
whose span covers the wake-up message, not the attempt. SQLAlchemy has no spans: its instrumentation does not support
version 2.1 yet.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util

from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

log = logging.getLogger(__name__)

_PROPAGATOR = TraceContextTextMapPropagator()
_TARGETS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def set_up(service: str, redis: bool = False) -> bool:
    """Export the spans of this process by OTLP over HTTP, if the environment requests it; return whether it does.

    Args:
        service: the process's name, unless `OTEL_SERVICE_NAME` sets another.
        redis: also create spans for calls of Redis; not for workers, which poll it every second.
    """
    if not _asked_for():
        return False
    if util.find_spec("opentelemetry.sdk") is None:
        log.warning("OTEL_* variables enable traces, but rdrkd[otel] is not installed: exporting no traces")
        return False
    # Imported here, because they may not be installed, and to avoid loading them if there are no traces.
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or service}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
    if redis:
        RedisInstrumentor().instrument()
    return True


def current() -> str | None:
    """Return the current trace of this thread or task, as the header `traceparent`; None without one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def continuing(traceparent: str | None) -> Iterator[None]:
    """Continue the trace of a `traceparent`; without one, or if there is already a trace, change nothing."""
    if traceparent is None or current() is not None:
        yield
        return
    token = context.attach(_PROPAGATOR.extract({"traceparent": traceparent}))
    try:
        yield
    finally:
        context.detach(token)


def _asked_for() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return exporter == "otlp" and any(os.environ.get(name) for name in _TARGETS)
