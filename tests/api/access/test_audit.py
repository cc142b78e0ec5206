"""The audit log: who did what to which object, in the transaction of what it tells of."""

from typing import Any

import pytest
from sqlalchemy import func, select, update

from api.__main__ import main
from api.access import audit
from api.db import after_seconds
from api.tables.audit import Audit
from api.tables.states import Status
from tests.api.conftest import NOBODY, ZIP, Service, Start
from tests.api.test_ownership import STUDY, TRAIN
from tests.api.test_server import environment


def entries(service: Service, **request: Any) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = service.client.get("/v1/audit", **request).raise_for_status().json()["data"]
    return data


@pytest.mark.slow
def test_what_was_done_is_told_with_who_and_to_what(each_service: Service) -> None:
    alice, admin = each_service.key("alice"), each_service.key("ops", "admin")
    client = each_service.client
    made = client.post("/v1/datasets", files={"file": ZIP}, headers=alice)
    dataset = made.json()["id"]
    job = client.post("/v1/jobs", json=TRAIN | {"dataset": dataset}, headers=alice).json()["id"]
    client.post(f"/v1/jobs/{job}/cancel", headers=admin).raise_for_status()
    study = client.post("/v1/studies", json=STUDY | {"dataset": dataset}, headers=alice).json()["id"]
    key = client.post("/v1/api-keys", json={"name": "x", "owner": "bob"}, headers=admin).json()["id"]
    client.delete(f"/v1/api-keys/{key}", headers=admin).raise_for_status()

    told = entries(each_service, headers=admin)

    mine, ops = (f"key_{headers['Authorization'].split('_')[1]}" for headers in (alice, admin))
    assert [(entry["key"], entry["owner"], entry["action"], entry["object"]) for entry in reversed(told)] == [
        (mine, "alice", "create_dataset", dataset),
        (mine, "alice", "create_job", job),
        (ops, "ops", "cancel_job", job),
        (mine, "alice", "create_study", study),
        (ops, "ops", "create_api_key", key),
        (ops, "ops", "revoke_api_key", key),
    ]
    assert told[-1]["request_id"] == made.headers["X-Request-ID"]
    assert told[-1]["at"] <= told[0]["at"]


def test_what_was_refused_or_only_read_is_not_told(service: Service) -> None:
    job = service.job(Status.FAILED)
    before = len(entries(service))

    service.client.post(f"/v1/jobs/{job}/cancel")
    service.client.post("/v1/jobs", json={})
    service.client.post("/v1/jobs", json=TRAIN | {"dataset": NOBODY["dataset"]})
    service.client.get(f"/v1/jobs/{job}")
    dataset = service.client.get("/v1/datasets").json()["data"][0]["id"]
    for feature, spec in (("jobs", TRAIN), ("studies", STUDY)):  # stores nothing, although it is a POST
        service.client.post(f"/v1/{feature}/validate", json=spec | {"dataset": dataset}).raise_for_status()

    assert len(entries(service)) == before


def test_the_log_can_be_filtered_and_paged(service: Service) -> None:
    jobs = [service.job() for _ in range(3)]
    service.client.post(f"/v1/jobs/{jobs[0]}/cancel").raise_for_status()

    assert [entry["action"] for entry in entries(service, params={"object": jobs[0]})] == ["cancel_job", "create_job"]
    assert len(entries(service, params={"action": "create_job"})) == 3
    assert {entry["key"] for entry in entries(service, params={"key": "loopback"})} == {"loopback"}
    assert entries(service, params={"owner": "alice"}) == []
    first = service.client.get("/v1/audit", params={"limit": 2}).json()
    rest = service.client.get("/v1/audit", params={"limit": 100, "after": first["next"]}).json()
    assert len(first["data"] + rest["data"]) == 7
    assert not rest["has_more"]


@pytest.mark.parametrize("scope", ["read", "submit"])
def test_the_log_is_the_admins(start: Start, scope: str) -> None:
    with start(token="t") as service:
        answer = service.client.get("/v1/audit", headers=service.key(scope=scope))
        assert answer.json()["code"] == "insufficient_scope"


def test_the_command_is_told_too(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(service.storage.root.parent).items():
        monkeypatch.setenv(name, value)

    assert main(["keys", "create", "x", "--owner", "ops", "--scope", "admin"]) == 0
    key = capsys.readouterr().out.strip()
    with service.database.transaction() as session:
        rows = session.execute(select(Audit.key, Audit.action, Audit.object, Audit.request_id)).all()

    assert rows == [("command", "create_api_key", f"key_{key.split('_')[1]}", None)]


def test_the_log_is_kept_for_some_days(each_service: Service) -> None:
    each_service.job()
    with each_service.database.transaction() as session:
        session.execute(update(Audit).where(Audit.action == "create_job").values(at=after_seconds(-366 * 86_400)))
        audit.purge(session, 365)

    with each_service.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(Audit)) == 1
