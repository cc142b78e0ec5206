"""Is it alive, can it serve, what is it."""

import io
import socket
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

import rdrkd
from api import migrations
from tests.api.conftest import Service, Start


def test_alive_and_ready(each_service: Service) -> None:
    assert each_service.client.get("/healthz").json() == {"status": "ok"}
    assert each_service.client.get("/readyz").json() == {
        "status": "ready",
        "database": "ok",
        "broker": "ok",
        "storage": "ok",
    }


@pytest.mark.slow
def test_a_database_that_says_nothing_holds_up_no_probe(start: Start) -> None:
    """A server that takes connections and never answers, as a frozen one does."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        url = f"postgresql://x:y@127.0.0.1:{silent.getsockname()[1]}/z"
        with start(database_url=url, migrate_on_start=False) as service, ThreadPoolExecutor(20) as clients:
            asked = [clients.submit(service.client.get, "/v1/jobs") for _ in range(20)]
            time.sleep(0.5)
            began = time.monotonic()
            assert [service.client.get("/healthz").status_code for _ in range(20)] == [200] * 20
            assert time.monotonic() - began < 4  # none of them has waited for the database, which gives up after five
            assert not all(each.done() for each in asked)
            assert {each.result().status_code for each in asked} == {503}


def test_an_older_schema_is_not_ready(each_service: Service) -> None:
    with each_service.database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))

    response = each_service.client.get("/readyz")

    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert "migrate" in response.json()["detail"]


def test_version_tells_licence_and_source(service: Service) -> None:
    version = service.client.get("/v1/version").json()

    assert (version["version"], version["licence"]) == (rdrkd.__version__, "AGPL-3.0-only")
    assert version["revision"] == migrations.newest()
    assert "fastapi" in version["packages"]
    with tarfile.open(fileobj=io.BytesIO(service.client.get(version["source"]).content)) as archive:
        names = archive.getnames()
    root = f"rdrkd-{rdrkd.__version__}"
    assert {f"{root}/api/http/main.py", f"{root}/rdrkd/spec/jobs.py", f"{root}/worker/__init__.py"} <= set(names)
    assert not any("__pycache__" in name for name in names)
