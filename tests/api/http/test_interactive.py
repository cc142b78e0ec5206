"""The pages for browsers load nothing from elsewhere, and need no key."""

import re

import pytest

from tests.api.conftest import Start


@pytest.mark.slow
@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_and_all_that_it_loads_come_from_this_service(start: Start, page: str) -> None:
    with start(token="secret", console=False) as service:
        response = service.client.get(page)
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "script-src 'self';" in response.headers["content-security-policy"]
        assert not re.search(r"(src|href)=\"(https?:)?//", response.text)
        loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", response.text)
        assert loaded
        for target in set(loaded) - {"v1/version"}:
            there = service.client.get(f"/{target}")
            assert there.status_code == 200, target
            assert there.headers["x-content-type-options"] == "nosniff"


def test_the_documentation_is_of_this_service(start: Start) -> None:
    with start() as service:
        script = service.client.get("/docs/start.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert '"openapi.json"' in script.text
        assert service.client.get("/docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/docs/__init__.py", "/docs/..%2f__init__.py", "/docs/x", "/redoc"])
def test_nothing_else_is_served(start: Start, path: str) -> None:
    with start() as service:
        assert service.client.get(path).status_code == 404
