"""Who may speak: the token, this machine, the Host, and pages of other sites."""

from pathlib import Path
from typing import Any

import pytest

from api.settings import Settings
from tests.api.conftest import NOBODY, Start

CALLS = [
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", f"/v1/jobs/{NOBODY['job']}/weights"),
    ("HEAD", f"/v1/jobs/{NOBODY['job']}/weights"),
    ("GET", f"/v1/jobs/{NOBODY['job']}/artifacts"),
    ("GET", f"/v1/jobs/{NOBODY['job']}/artifacts/report.html"),
    ("HEAD", f"/v1/jobs/{NOBODY['job']}/artifacts/report.html"),
    ("POST", "/v1/datasets"),
    ("GET", "/v1/methods"),
    ("GET", "/v1/version"),
    ("GET", "/v1/nothing"),
    ("GET", "/v1"),
]


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", "Basic secret", "secret", "Bearer secret2", "Bearer \xff"]
)
def test_a_token_guards_every_v1_call(start: Start, given: str | None) -> None:
    headers = {"Authorization": given.encode("latin-1")} if given else {}
    with start(token="secret") as service:
        for method, path in CALLS:
            response = service.client.request(method, path, headers=headers)
            assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer"), path
            assert method == "HEAD" or response.json()["code"] == "unauthorized"


@pytest.mark.parametrize(("scheme", "token"), [("Bearer", "secret"), ("bearer", "secret"), ("Bearer", "geheim-ß")])
def test_the_right_token_opens(start: Start, scheme: str, token: str) -> None:
    with start(token=token) as service:
        service.client.headers.encoding = "utf-8"
        service.client.headers["Authorization"] = f"{scheme} {token}"
        assert service.client.get("/v1/jobs").status_code == 200
        assert service.submit(service.dataset())["status"] == "queued"


def test_the_token_may_come_from_a_file(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    with start(token_file=file) as service:
        assert service.client.get("/v1/jobs").status_code == 401
        assert service.client.get("/v1/jobs", headers={"Authorization": "Bearer from-file"}).status_code == 200


def test_probes_and_documents_need_no_token(start: Start) -> None:
    with start(token="secret") as service:
        for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
            assert service.client.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("client", "token", "status"),
    [("127.0.0.1", None, 200), ("::1", None, 200), ("10.0.0.7", None, 403), ("10.0.0.7", "secret", 200)],
)
def test_without_a_token_only_this_machine_is_answered(
    start: Start, client: str, token: str | None, status: int
) -> None:
    headers = {"Authorization": "Bearer secret"} if token else {}
    with start(client=(client, 1), token=token, headers=headers) as service:
        response = service.client.get("/v1/jobs")

        assert response.status_code == status
        assert status == 200 or response.json()["code"] == "loopback_only"


@pytest.mark.parametrize(
    ("host", "settings", "status"),
    [
        ("localhost:8000", {}, 200),
        ("[::1]:8000", {}, 200),
        ("attacker.example", {}, 400),
        ("", {}, 400),
        ("[", {}, 400),
        ("gpu.example", {"allowed_hosts": "gpu.example, other.example"}, 200),
        ("attacker.example", {"token": "t"}, 200),  # a rebound name knows no token
        ("attacker.example", {"token": "t", "allowed_hosts": "gpu.example"}, 400),
    ],
)
def test_the_host_header_is_checked(start: Start, host: str, settings: dict[str, Any], status: int) -> None:
    with start(**settings, headers={"Authorization": "Bearer t"}) as service:
        response = service.client.get("/v1/jobs", headers={"Host": host})

        assert response.status_code == status
        assert status == 200 or response.json()["code"] == "host_not_allowed"


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", "http://127.0.0.1:3000", "http://["])
def test_pages_of_other_sites_change_nothing(start: Start, origin: str) -> None:
    with start() as service:
        job = service.job()
        for path in ("/v1/datasets", f"/v1/jobs/{job}/cancel"):
            response = service.client.post(path, headers={"Origin": origin})
            assert (response.status_code, response.json()["code"]) == (403, "cross_site")
        own = service.client.post(f"/v1/jobs/{job}/cancel", headers={"Origin": "http://127.0.0.1"})
        assert own.status_code == 200


def test_every_answer_carries_its_headers(start: Start) -> None:
    with start() as service:
        for path in ("/v1/jobs", "/nothing", "/healthz"):
            headers = service.client.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert "no-cache" in headers["Cache-Control"]
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Request-ID"].startswith("req_")
        refused = service.client.get("/v1/jobs", headers={"Host": "attacker.example"})
        assert refused.headers["X-Request-ID"] == refused.json()["instance"]


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_no_token(tmp_path: Path, token: str) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    with pytest.raises(ValueError, match="empty"):
        Settings(token_file=file).read_token()
    with pytest.raises(ValueError, match="empty"):
        Settings(token=token).read_token()


def test_two_tokens_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got both"):
        Settings(token="a", token_file=tmp_path / "token").read_token()
