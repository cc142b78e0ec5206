"""Traces, as a collector gets them: a real receiver of OTLP over HTTP, and processes of the service."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api import tracing
from tests import journals
from tests.servers import Valkey

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Receives spans."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []  # each with the name of its service
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    named = {attribute.key: attribute.value.string_value for attribute in group.resource.attributes}
                    spans = [span for scope in group.scope_spans for span in scope.spans]
                    collector.spans += [(named["service.name"], span) for span in spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def environment(self) -> dict[str, str]:
        """What sends spans here, soon."""
        url = f"http://127.0.0.1:{self.server.server_port}"
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }

    def wait(self, name: str) -> tuple[str, Span]:
        """Wait for a span of this name in the test's trace."""
        end = time.monotonic() + 30
        while not (found := [kept for kept in self.spans if kept[1].name == name and kept[1].trace_id.hex() == TRACE]):
            assert time.monotonic() < end, [span.name for _, span in self.spans]
            time.sleep(0.05)
        return found[0]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def upload(api: journals.Logged) -> str:
    """Upload a dataset within the test's trace; give its id."""
    url = api.wait("Uvicorn running").split()[3]
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    with httpx2.Client(base_url=url) as client:
        answer = client.post("/v1/datasets?x=1", files={"file": ("a.zip", b"x")}, headers=headers)
    return answer.raise_for_status().json()["id"]


@pytest.mark.slow
def test_a_request_and_what_it_asks_of_others_are_one_trace(
    tmp_path: Path, collector: Collector, valkey_server: Valkey
) -> None:
    environment = collector.environment | {"RDRKD_BROKER_URL": valkey_server.new_url()}
    with journals.process(tmp_path / "var", "api", **environment) as api:
        upload(api)
        service, request = collector.wait("POST /v1/datasets")
        _, ring = collector.wait("apply_async/worker.ring_inspect")
        _, redis = collector.wait("LPUSH")
        _, endpoint = collector.wait("fastapi.endpoint")  # FastAPI's own, in which the transaction lies

    assert (service, request.parent_span_id.hex()) == ("rdrkd-api", PARENT)
    assert request.kind == Span.SPAN_KIND_SERVER
    assert ring.kind == Span.SPAN_KIND_PRODUCER
    assert {ring.parent_span_id, redis.parent_span_id} == {endpoint.span_id}
    assert endpoint.parent_span_id == request.span_id
    (line,) = [line for line in api.lines() if line.get("route") == "/v1/datasets"]
    assert (line["trace_id"], line["span_id"]) == (TRACE, request.span_id.hex())


@pytest.mark.slow
def test_a_worker_goes_on_with_the_trace(tmp_path: Path, collector: Collector) -> None:
    # The worker looks for rows by itself, too: here the ring is to come first.
    named = collector.environment | {"OTEL_SERVICE_NAME": "mine", "RDRKD_LOOK_SECONDS": "60"}
    with (
        journals.process(tmp_path / "var", "api", **collector.environment) as api,
        journals.process(tmp_path / "var", "worker", "--queue", "inspect", **named) as worker,
    ):
        url = api.wait("Uvicorn running").split()[3]
        while not httpx2.get(f"{url}/v1/workers").raise_for_status().json()["data"]:
            time.sleep(0.1)
        time.sleep(2)
        row_id = upload(api)
        service, attempt = collector.wait("run/worker.ring_inspect")
        _, ring = collector.wait("apply_async/worker.ring_inspect")

    assert (service, attempt.parent_span_id) == ("mine", ring.span_id)
    line = next(line for line in worker.lines() if line.get("upload_id") == row_id)
    assert (line["trace_id"], line["span_id"]) == (TRACE, attempt.span_id.hex())


PROGRAM = """
import sys
PARTS = "sdk", "exporter", "instrumentation"
{first}
from api import tracing
from api.http.main import create_app
from api.settings import Settings
print(tracing.set_up("x", redis=True))
create_app(Settings())
import api.reaper, worker.workplace
print([name for name in sys.modules if name.startswith(tuple(f"opentelemetry.{{part}}" for part in PARTS))])
"""


@pytest.mark.slow
@pytest.mark.parametrize("installed", [True, False])
def test_nothing_is_loaded_that_is_not_asked_for_or_not_installed(tmp_path: Path, installed: bool) -> None:
    # `None` stands where a missing module would: what is not installed and what is forbidden fail alike.
    first = "" if installed else "sys.modules['opentelemetry.sdk'] = None"
    asked = {} if installed else {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    command = [sys.executable, "-c", PROGRAM.format(first=first)]
    environment = {"RDRKD_DATA_DIR": str(tmp_path)} | asked
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)

    assert ran.stdout.splitlines() == ["False", "[]" if installed else "['opentelemetry.sdk']"], ran.stderr
    assert ("rdrkd[otel] is not installed" in ran.stderr) is not installed


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_the_standard_switches_turn_it_off(monkeypatch: pytest.MonkeyPatch, off: dict[str, str]) -> None:
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **off}.items():
        monkeypatch.setenv(name, value)

    assert not tracing.set_up("x")
