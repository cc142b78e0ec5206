"""API keys: made once, compared by hash, limited by scope, refused when they expire or are revoked."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from api.access import keys
from api.access.keys_schemas import KeyRequest
from api.db import after_seconds
from api.errors import Invalid
from api.http.key_lookup import MOST, SECONDS
from api.tables.keys import ApiKey
from tests.api.conftest import Service, Start

ADMIN = {"Authorization": "Bearer t"}
ASKED = {"name": "nightly", "owner": "alice"}
FIRST = ASKED | {"scope": "admin"}


@pytest.mark.slow
def test_a_key_is_shown_once_and_kept_as_a_hash(each_service: Service) -> None:
    made = each_service.client.post("/v1/api-keys", json=FIRST)
    body = made.json()
    time.sleep(SECONDS)  # the guard has heard of no key before
    headers = {"Authorization": f"Bearer {body['key']}"}

    assert made.status_code == 201
    assert made.headers["Location"] == f"/v1/api-keys/{body['id']}"
    assert made.headers["Cache-Control"] == "no-store"
    assert (body["scope"], body["owner"], body["last_used_at"]) == ("admin", "alice", None)
    assert body["key"].startswith(f"rdr_{body['id'].removeprefix('key_')}_")
    assert each_service.client.get("/v1/jobs", headers=headers).status_code == 200
    with each_service.database.transaction() as session:
        row = session.scalars(select(ApiKey)).one()
        assert body["key"].rpartition("_")[2] not in {str(value) for value in vars(row).values()}
    admin = each_service.key(scope="admin")
    shown = each_service.client.get("/v1/api-keys", headers=admin).json()["data"]
    assert [entry["id"] for entry in shown if "key" not in entry][-1] == body["id"]
    assert each_service.client.get(made.headers["Location"], headers=admin).json()["last_used_at"]


def test_once_there_is_a_key_nobody_comes_in_without(start: Start) -> None:
    with start() as service:
        service.key()
        assert service.client.get("/v1/jobs").json()["code"] == "unauthorized"
        assert service.client.get("/healthz").status_code == 200


def test_with_a_key_and_no_token_other_machines_are_answered(start: Start) -> None:
    with start(client=("10.0.0.7", 1)) as service:
        headers = service.key()
        assert service.client.get("/v1/jobs", headers=headers).status_code == 200
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/v1/jobs", headers=headers | {"Host": "any.example"}).status_code == 200


def test_the_token_stays_the_operators_key(start: Start) -> None:
    with start(token="t") as service:
        service.key()
        assert service.client.get("/v1/api-keys", headers=ADMIN).status_code == 200


@pytest.mark.parametrize(
    ("scope", "statuses"), [("read", (200, 403, 403)), ("submit", (200, 404, 403)), ("admin", (200, 404, 200))]
)
def test_a_scope_holds_those_before_it(start: Start, scope: str, statuses: tuple[int, ...]) -> None:
    with start(token="t") as service:
        headers = service.key(scope=scope)
        cancel = f"/v1/jobs/job_{'0' * 32}/cancel"
        answers = [
            service.client.get("/v1/jobs", headers=headers),
            service.client.post(cancel, headers=headers),
            service.client.get("/v1/api-keys", headers=headers),
        ]

        assert tuple(answer.status_code for answer in answers) == statuses
        for answer in answers:
            if answer.status_code == 403:
                assert answer.json()["code"] == "insufficient_scope"
                assert f"with the scope {scope}" in answer.json()["detail"]


def test_too_small_a_scope_is_told_before_the_body_is_read(start: Start) -> None:
    with start(token="t") as service:
        answer = service.client.post("/v1/datasets", content=b"no form at all", headers=service.key(scope="read"))

        assert (answer.status_code, "scope submit" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("scope", ["read", "submit"])
def test_keys_are_the_admins(start: Start, method: str, scope: str) -> None:
    with start(token="t") as service:
        for path in ("/v1/api-keys", f"/v1/api-keys/key_{'0' * 32}"):
            answer = service.client.request(method, path, headers=service.key(scope=scope))
            assert answer.json()["code"] == "insufficient_scope", path


@pytest.mark.slow
def test_a_revoked_key_is_refused_within_seconds(each_service: Service) -> None:
    headers, admin = each_service.key(), each_service.key(scope="admin")
    assert each_service.client.get("/v1/jobs", headers=headers).status_code == 200
    key_id = each_service.client.get("/v1/api-keys", headers=admin).json()["data"][1]["id"]

    revoked = each_service.client.delete(f"/v1/api-keys/{key_id}", headers=admin)
    again = each_service.client.delete(f"/v1/api-keys/{key_id}", headers=admin)
    time.sleep(SECONDS)
    refused = each_service.client.get("/v1/jobs", headers=headers)

    assert (revoked.status_code, revoked.json()) == (200, again.json())
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert "revoked" in refused.json()["detail"]


def test_an_expired_key_is_refused(each_service: Service) -> None:
    headers = each_service.key(expires_at=datetime.now(UTC) + timedelta(hours=1))
    with each_service.database.transaction() as session:
        session.execute(update(ApiKey).values(expires_at=after_seconds(-1)))

    refused = each_service.client.get("/v1/jobs", headers=headers)

    assert (refused.status_code, "expired" in refused.json()["detail"]) == (401, True)


def test_a_key_that_has_expired_already_is_not_made(each_service: Service) -> None:
    for moment in ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00"):
        answer = each_service.client.post("/v1/api-keys", json=FIRST | {"expires_at": moment})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/expires_at"
    with each_service.database.transaction() as session:
        assert session.scalars(select(ApiKey)).all() == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"owner": "a/b"}, "/owner"),
        ({"owner": ""}, "/owner"),
        ({"name": " "}, "/name"),
        ({"name": "a\0b"}, "/name"),
        ({"scope": "root"}, "/scope"),
        ({"scopes": ["read"]}, "/scopes"),
    ],
)
def test_what_is_wrong_is_told_by_field(steady: Service, change: dict[str, object], pointer: str) -> None:
    answer = steady.client.post("/v1/api-keys", json=ASKED | change)

    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [pointer])


def test_other_secrets_do_not_open_and_leave_no_trace(start: Start) -> None:
    with start(token="t") as service:
        key = service.key()["Authorization"]
        wrong = [key[:-1] + ("0" if key[-1] != "0" else "1"), key[:-1], key + "0", key.upper(), "Bearer rdr_", key[:43]]
        for header in [*wrong, f"Bearer rdr_{'0' * 32}_{'0' * 64}"]:
            assert service.client.get("/v1/jobs", headers={"Authorization": header}).status_code == 401, header
        with service.database.transaction() as session:
            assert session.scalars(select(ApiKey.last_used_at)).one() is None


def test_the_last_use_is_written_once_a_minute(each_service: Service) -> None:
    headers = each_service.key()
    token = headers["Authorization"].partition(" ")[2]
    key_id, _ = keys.parts(token) or ("", "")

    def use() -> datetime | None:
        with each_service.database.transaction() as session:
            keys.note_use(session, key_id)
        with each_service.database.transaction() as session:
            return session.scalars(select(ApiKey.last_used_at)).one()

    first = use()
    assert first is not None
    assert use() == first
    with each_service.database.transaction() as session:
        session.execute(update(ApiKey).values(last_used_at=after_seconds(-61)))
    assert (use() or first) >= first


@pytest.mark.slow
def test_while_the_database_is_away_nobody_comes_in(start: Start, tmp_path: Path) -> None:
    with start() as service:
        known, other = service.key(), service.key("bob")
        assert service.client.get("/v1/jobs", headers=known).status_code == 200
        service.app.state.database.engine.dispose()
        folder = tmp_path / "var"
        folder.rename(tmp_path / "elsewhere")

        lost = service.client.get("/v1/methods", headers=other)
        alive = service.client.get("/healthz")
        (tmp_path / "elsewhere").rename(folder)

        assert (lost.status_code, lost.json()["code"], alive.status_code) == (503, "unavailable", 200)
        time.sleep(SECONDS)
        assert service.client.get("/v1/jobs", headers=other).status_code == 200


@pytest.mark.slow
def test_many_invented_ids_cost_no_memory(start: Start) -> None:
    with start(token="t", rate_stranger="") as service:
        for number in range(MOST + 5):
            headers = {"Authorization": f"Bearer rdr_{number:032x}_{'0' * 64}"}
            assert service.client.get("/v1/jobs", headers=headers).status_code == 401
        good = service.key()
        assert service.client.get("/v1/jobs", headers=good).status_code == 200


def test_the_first_key_is_an_admins_or_is_refused_with_the_reason(each_service: Service) -> None:
    client = each_service.client
    refused = client.post("/v1/api-keys", json=ASKED)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/scope")
    assert "nobody comes in without one" in refused.json()["detail"]
    assert client.get("/v1/jobs").status_code == 200, "the service is as open as before"

    admin = client.post("/v1/api-keys", json=FIRST).json()
    headers = {"Authorization": f"Bearer {admin['key']}"}
    assert client.post("/v1/api-keys", json=ASKED, headers=headers).status_code == 201
    assert client.delete(f"/v1/api-keys/{admin['id']}", headers=headers).status_code == 200
    with each_service.database.transaction() as session, pytest.raises(Invalid, match="admin key first"):
        keys.check_first(session, KeyRequest(**ASKED), others=False)  # the only admin key is revoked


def test_whoever_shows_the_first_key_is_its_owner_at_once(each_service: Service) -> None:
    """Another process has just read that there is no key; a caller who shows one must not pass for the operator."""
    assert each_service.client.get("/v1/jobs").status_code == 200
    headers = each_service.key("alice", "read")
    assert each_service.client.get("/v1/whoami", headers=headers).json()["owner"] == "alice"
    assert each_service.client.post("/v1/jobs", json={}, headers=headers).status_code == 403


@pytest.mark.slow
def test_a_local_token_lets_its_user_in_from_this_machine_alone(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("mine\n")
    headers = {"Authorization": "Bearer mine"}
    with start(local_token_file=file) as service:
        assert service.client.get("/v1/jobs").status_code == 200, "it closes the service to nobody"
        assert service.client.post("/v1/api-keys", json=ASKED).status_code == 201, "its user is not locked out"
        time.sleep(SECONDS)
        assert service.client.get("/v1/jobs").status_code == 401
        assert service.client.get("/v1/api-keys", headers=headers).status_code == 200
        assert service.client.get("/v1/jobs", headers={"Authorization": "Bearer other"}).status_code == 401
    with start(token="t", local_token_file=file, client=("10.0.0.7", 1)) as service:
        assert service.client.get("/v1/jobs", headers=headers).status_code == 401
