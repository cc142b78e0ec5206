"""How often a key may ask: by class, by key, in memory and in a real Valkey."""

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from api.settings import Settings
from tests.api.conftest import NOBODY, Start
from tests.servers import Valkey

WEIGHTS = f"/v1/jobs/{NOBODY['job']}/weights"
CANCEL = f"/v1/jobs/{NOBODY['job']}/cancel"


@pytest.mark.parametrize("where", ["memory", "valkey"])
def test_each_class_has_its_own_limit(start: Start, request: pytest.FixtureRequest, where: str) -> None:
    rates = {"rate_default": "3/day", "rate_submit": "2/day", "rate_download": "1/day"}
    if where == "valkey":
        valkey: Valkey = request.getfixturevalue("valkey_server")
        rates["broker_url"] = valkey.new_url()
    with start(token="t", **rates) as service:
        alice = service.key("alice")
        for method, path, most in (("GET", "/v1/jobs", 3), ("POST", CANCEL, 2), ("GET", WEIGHTS, 1)):
            answers = [service.client.request(method, path, headers=alice) for _ in range(most + 1)]
            assert [answer.status_code == 429 for answer in answers] == [False] * most + [True]
            assert answers[-1].json()["code"] == "rate_limited"
            assert 1 <= int(answers[-1].headers["Retry-After"]) <= 86_400
        assert service.client.get("/v1/jobs", headers=service.key("alice")).status_code == 200  # another key
        operator = [service.client.get("/v1/jobs", headers={"Authorization": "Bearer t"}) for _ in range(5)]
        assert {answer.status_code for answer in operator} == {200}


@pytest.mark.parametrize("where", ["memory", "valkey"])
def test_strangers_are_limited_by_their_address_and_hold_up_nobody(
    start: Start, request: pytest.FixtureRequest, where: str
) -> None:
    settings = {"token": "t", "rate_stranger": "3/day"}
    if where == "valkey":
        valkey: Valkey = request.getfixturevalue("valkey_server")
        settings["broker_url"] = valkey.new_url()
    wrong = [{}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer rdr_{'0' * 32}_{'0' * 64}"}, {}, {}]
    with start(**settings) as service:
        alice = service.key("alice")
        answers = [service.client.get("/v1/jobs", headers=headers) for headers in wrong]
        known = [
            service.client.get("/v1/jobs", headers=headers).status_code
            for headers in (alice, {"Authorization": "Bearer t"})
        ]
        probe = service.client.get("/healthz")
        elsewhere = TestClient(service.app, "http://127.0.0.1", client=("192.0.2.1", 1)).get("/v1/jobs")

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert (answers[-1].json()["code"], "address" in answers[-1].json()["detail"]) == ("rate_limited", True)
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 86_400
    assert (known, probe.status_code, elsewhere.status_code) == ([200, 200], 200, 401)


def test_the_pieces_of_a_resumable_upload_are_no_submits(start: Start) -> None:
    with start(token="t", rate_submit="1/day", rate_default="3/day") as service:
        alice = service.key("alice")
        path = f"/v1/uploads/upl_{'0' * 32}"
        statuses = [service.client.patch(path, headers=alice).status_code for _ in range(4)]
        assert [status == 429 for status in statuses] == [False, False, False, True]


def test_two_processes_count_together_in_valkey(start: Start, valkey_server: Valkey) -> None:
    shared = {"token": "t", "rate_default": "2/day", "broker_url": valkey_server.new_url()}
    with start(**shared) as one:
        alice = one.key("alice")
        assert [one.client.get("/v1/jobs", headers=alice).status_code for _ in range(2)] == [200, 200]
        database = one.app.state.settings.database_url
        with start(**shared, database_url=database) as two:
            assert two.client.get("/v1/jobs", headers=alice).status_code == 429


def test_a_redis_that_is_away_stops_nobody(start: Start) -> None:
    away = {"broker_url": "redis://127.0.0.1:1/0", "rate_default": "1/day"}
    with start(token="t", **away) as service:
        alice = service.key("alice")
        assert [service.client.get("/v1/jobs", headers=alice).status_code for _ in range(2)] == [200, 200]


def test_no_limit_is_a_limit_too(start: Start) -> None:
    with start(token="t", rate_default="") as service:
        alice = service.key("alice")
        assert {service.client.get("/v1/jobs", headers=alice).status_code for _ in range(5)} == {200}


@pytest.mark.parametrize("text", ["often", "10", "10/fortnight"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="expected limits such as 60/minute"):
        Settings(rate_submit=text)


REFUSED = {  # what is refused of a key before anything is read, and with what
    "scope": ("POST", "/v1/jobs", {}, 403),
    "an admin's": ("GET", "/v1/audit", {}, 403),
    "nothing there": ("GET", "/v1/nothing", {}, 404),
    "another method": ("PUT", "/v1/jobs", {}, 403),
    "a method of an address to be read": ("OPTIONS", "/v1/jobs", {}, 405),
    "a value": ("GET", "/v1/jobs?limit=0", {}, 422),
}


@pytest.mark.parametrize("which", REFUSED)
def test_refusals_count_as_requests(start: Start, which: str) -> None:
    method, path, headers, status = REFUSED[which]
    with start(token="t", rate_default="3/day", rate_submit="3/day") as service:
        reader = service.key("alice", "read")
        answers = [service.client.request(method, path, headers={**reader, **headers}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [status] * 3 + [429] * 2


EARLY = {  # refused before it is known who asks
    "host": ({"Host": "evil.example"}, "", 400),
    "headers": ({f"X-{number}": "x" for number in range(200)}, "", 431),
    "a query": ({}, "?" + "&".join(["name=x"] * 3000), 400),
}


@pytest.mark.parametrize("which", EARLY)
def test_refusals_of_nobody_known_count_by_address(start: Start, which: str) -> None:
    headers, query, status = EARLY[which]
    with start(rate_stranger="3/day") as service:
        answers = [service.client.get(f"/v1/jobs{query}", headers=headers) for _ in range(5)]
        known = service.client.get("/v1/jobs")
    assert [answer.status_code for answer in answers] == [status] * 3 + [429] * 2
    assert known.status_code == 200
