"""A reader of the console: a browser without scripts, that keeps its cookie and sends forms as pages hold them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.conftest import Service, serve


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
    hooks = {"webhooks_allow_http": True, "webhooks_allow_private": True}
    with serve(tmp_path_factory.mktemp("closed"), migrated, token="t", rate_stranger="", **hooks) as running:
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
