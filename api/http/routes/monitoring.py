"""Endpoint that Prometheus scrapes."""

from collections.abc import Iterable

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from api.errors import InsufficientScope
from api.http.dependencies import StorageDep, Work, refusals
from api.http.routing import Route
from api.monitoring import service
from api.uploads.ledger.service import unwritten_bytes
from rdrkd import __version__

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
router = APIRouter(tags=["service"], route_class=Route)


class _Figures(Collector):
    """Figures that have been read, in the form in which the library takes them."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics


@router.get(
    "/monitoring",
    operation_id="get_monitoring",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(InsufficientScope)},
)
def get_monitoring(work: Work, store: StorageDep) -> Response:
    """Return the service's metrics in Prometheus' text format: jobs, leases, workers, attempts, storage."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Figures(list(service.figures(work.session, store.free(), unwritten_bytes(work.session, store), __version__)))
    )
    return Response(generate_latest(registry), media_type=MEDIA_TYPE)
