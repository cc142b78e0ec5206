"""Readers of the console: a browser without scripts that keeps its cookie and sends the forms of pages; Chromium."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from api.http.main import create_app
from api.settings import Settings
from api.tables.states import Status
from tests.api.conftest import Service, listening, serve
from tests.api.console.predicted import DOCUMENT
from tests.browser import chromium

HOSTILE = '<img src=x onerror="document.title=1">'
PATIENCE = 60_000  # ms: the machine may be busy
HOOKS = {"webhooks_allow_http": True, "webhooks_allow_private": True}


@dataclass
class Reader:
    """Whoever looks at the pages."""

    client: httpx2.Client

    def get(self, path: str, status: int = 200, **headers: str) -> str:
        answer = self.client.get(path, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.text

    def post(self, path: str, csrf: str | None = None, **fields: Any) -> httpx2.Response:
        """Send a form, with the token of the page that this reader has last seen."""
        return self.client.post(path, data={"csrf": self.csrf() if csrf is None else csrf} | fields)

    def csrf(self) -> str:
        found = re.search(r'data-csrf="([^"]+)"', self.client.get("/sign-in").text)
        assert found is not None
        return found[1]

    def sign_in(self, key: str) -> httpx2.Response:
        return self.post("/sign-in", key=key, next="/jobs")


def reader_of(service: Service, **key: Any) -> Reader:
    """Return a reader; one with a key of these properties has signed in."""
    made = service.key(**key)["Authorization"].removeprefix("Bearer ") if key else None
    reader = Reader(service.client)
    if made:
        assert reader.sign_in(made).status_code == 303
    return reader


@pytest.fixture(scope="module")
def one_closed(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("closed"), migrated, token="t", rate_stranger="", **HOOKS) as running:
        yield running


@pytest.fixture
def closed(one_closed: Service) -> Service:
    """A service that asks everybody who they are, shared by a module; direct requests come from its operator."""
    one_closed.client.cookies.clear()
    one_closed.client.headers["Authorization"] = "Bearer t"
    return one_closed


@pytest.fixture
def open_service(steady: Service) -> Service:
    """A service that asks nobody, shared by a module."""
    steady.client.cookies.clear()
    return steady


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Service]:
    data_dir = tmp_path_factory.mktemp("live")
    shutil.copy(migrated, data_dir / "rdrkd.db")
    with listening(create_app(Settings(data_dir=data_dir, broker_url="memory://", **HOOKS))) as running:
        yield running


@pytest.fixture
def page(browser: Browser, live: Service) -> Iterator[Page]:
    """A page that reports what goes wrong in it."""
    context = browser.new_context(base_url=str(live.client.base_url), timezone_id="Asia/Tokyo", locale="en-GB")
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page, complaints = context.new_page(), []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert [text for text in complaints if "Failed to load resource" not in text and "htmx:error" not in text] == []


@pytest.fixture(scope="module")
def jobs(live: Service, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A running job with two epochs and a hostile name, and one that failed."""
    running = live.job(name=HOSTILE)
    held = live.bring(running, Status.RUNNING)
    for epoch in (1, 2):
        live.epoch(held, epoch, losses={"box": 1.0, "decoupled": 2.0}, diagnostics={"decoupled/ratio": 0.5})
    folder = tmp_path_factory.mktemp("files")
    live.checkpoint(held, 2, folder)
    live.publish(held, 2, json.dumps(DOCUMENT).encode(), folder, "predictions.json")
    live.warn(held, "dataset", HOSTILE)
    return [running, live.job(Status.FAILED)]
