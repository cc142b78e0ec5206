"""The console of a service elsewhere: as an application, and as the command `rdrkd console`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from api.console.app import remote_app
from api.console.session import Ephemeral
from api.http.main import create_app
from api.settings import Settings
from api.tables.states import Status
from tests.api.conftest import Service, listening
from tests.api.console.conftest import Reader
from tests.api.test_server import await_listening, environment, free_port


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("elsewhere"), broker_url="memory://", token="t", console=False)
    with listening(create_app(settings)) as running:
        running.client.headers["Authorization"] = "Bearer t"
        yield running


def console_of(service: Service, token: str | None) -> TestClient:
    app = remote_app(str(service.client.base_url).rstrip("/"), token, Ephemeral())
    return TestClient(app, "http://127.0.0.1", follow_redirects=False)


def test_pages_files_and_forms_work_from_afar(elsewhere: Service, tmp_path: Path) -> None:
    job = elsewhere.job(name="over there")
    elsewhere.publish(elsewhere.bring(job, Status.RUNNING), 1, b"0123456789" * 100_000, tmp_path)
    with console_of(elsewhere, "t") as client:
        reader = Reader(client)
        shown = reader.get("/")
        assert "over there" in shown
        assert f'href="{str(elsewhere.client.base_url).rstrip("/")}/docs"' in shown
        weights = client.get(f"/through/v1/jobs/{job}/weights")
        assert weights.content == b"0123456789" * 100_000
        assert client.get(f"/through/v1/jobs/{job}/weights", headers={"Range": "bytes=3-5"}).content == b"345"
        assert reader.post(f"/jobs/{job}/cancel").status_code == 303
    assert elsewhere.client.get(f"/v1/jobs/{job}").json()["status"] == "cancelling"


def test_readers_may_sign_in_with_a_key_of_their_own(elsewhere: Service) -> None:
    with console_of(elsewhere, None) as client:
        assert client.get("/").status_code == 303
        assert Reader(client).sign_in("t").status_code == 303
        assert client.get("/").status_code == 200


def test_another_name_of_this_machine_is_refused(elsewhere: Service) -> None:
    with console_of(elsewhere, "t") as client:
        assert client.get("/", headers={"Host": "rebound.example.org"}).status_code == 400


def test_a_service_that_is_gone_is_said_to_be() -> None:
    with TestClient(remote_app(f"http://127.0.0.1:{free_port()}", "t", Ephemeral()), "http://127.0.0.1") as client:
        answer = client.get("/")
        assert answer.status_code == 503
        assert "does not answer" in answer.text
        assert client.get("/through/v1/jobs/job_1/weights").status_code == 503


@pytest.mark.slow
def test_the_command(elsewhere: Service, tmp_path: Path) -> None:
    port, url = free_port(), str(elsewhere.client.base_url)
    (tmp_path / "token").write_text("t\n")
    command = [sys.executable, "-m", "rdrkd", "console", "--url", url, "--port", str(port)]
    command += ["--token-file", str(tmp_path / "token"), "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(tmp_path / "var"), **pipes) as process:
        try:
            await_listening(port)
            assert "Next in the queue" in httpx2.get(f"http://127.0.0.1:{port}/").text
        finally:
            process.terminate()
            told, _ = process.communicate(timeout=30)
    assert json.loads(told.splitlines()[0]) == {"console": f"http://127.0.0.1:{port}", "service": url}
