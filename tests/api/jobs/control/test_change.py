"""Changing a job: which field when, under which version, and that a refusal changes nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx2 import Response

from api.tables.states import Status
from tests.api.conftest import NOBODY, Service

TO_COME = "2126-12-01T18:00:00Z"
ALL = {"name": "other", "labels": {"team": "uav"}, "priority": 7, "timeout_seconds": 60, "deadline": TO_COME}


def read(service: Service, job_id: str) -> Response:
    return service.client.get(f"/v1/jobs/{job_id}").raise_for_status()


def patch(service: Service, job_id: str, body: Any, if_match: str | None = "*") -> Response:
    headers = {} if if_match is None else {"If-Match": if_match}
    return service.client.patch(f"/v1/jobs/{job_id}", json=body, headers=headers)


def test_everything_of_a_queued_job_can_be_changed(each_service: Service) -> None:
    job_id = each_service.job(name="one", labels={"a": "b"}, priority=1)
    known = read(each_service, job_id)

    changed = patch(each_service, job_id, ALL, known.headers["ETag"])

    now = read(each_service, job_id)
    assert (changed.status_code, changed.json()) == (200, now.json())
    assert changed.headers["ETag"] == now.headers["ETag"] != known.headers["ETag"]
    assert {name: now.json()[name] for name in ALL} == ALL
    assert now.json()["spec"] == known.json()["spec"] | ALL
    assert [row["id"] for row in each_service.client.get("/v1/jobs?label=team=uav").json()["data"]] == [job_id]
    assert each_service.claim().timeout_seconds == 60


def test_an_attempt_has_a_time_limit_only_if_asked_for(each_service: Service) -> None:
    free, limited = each_service.job(), each_service.job(timeout_seconds=60)
    assert patch(each_service, limited, {"timeout_seconds": None}).status_code == 200
    assert [read(each_service, job).json()["timeout_seconds"] for job in (free, limited)] == [None, None]
    assert [each_service.claim().timeout_seconds for _ in range(2)] == [0, 0]


def test_what_is_left_out_stays_and_null_takes_away(each_service: Service) -> None:
    job_id = each_service.job(**ALL)

    assert patch(each_service, job_id, {"name": None, "deadline": None}).status_code == 200

    job = read(each_service, job_id).json()
    assert (job["name"], job["deadline"], job["priority"], job["labels"]) == (None, None, 7, {"team": "uav"})
    assert not {"name", "deadline"} & set(job["spec"])


def test_nothing_to_change_changes_nothing(each_service: Service) -> None:
    job_id = each_service.job()
    before = read(each_service, job_id)

    answer = patch(each_service, job_id, {}, before.headers["ETag"])

    assert (answer.status_code, answer.json(), answer.headers["ETag"]) == (200, before.json(), before.headers["ETag"])


def test_a_higher_priority_goes_first(each_service: Service) -> None:
    first, second = each_service.job(), each_service.job()
    patch(each_service, second, {"priority": 1}).raise_for_status()

    assert [each_service.claim().id for _ in range(2)] == [second, first]


@pytest.mark.parametrize("status", sorted(Status))
def test_priority_is_for_those_that_wait(each_service: Service, status: Status) -> None:
    job_id = each_service.job(status)
    before = read(each_service, job_id).json()

    answer = patch(each_service, job_id, {"priority": 5, "name": "x"})

    if status in (Status.QUEUED, Status.PAUSED):
        assert (answer.status_code, answer.json()["priority"], answer.json()["name"]) == (200, 5, "x")
    else:
        assert (answer.status_code, answer.json()["code"]) == (409, "not_changeable")
        assert answer.json()["detail"].startswith("priority: ")
        assert read(each_service, job_id).json() == before


@pytest.mark.parametrize("field", ["timeout_seconds", "deadline"])
def test_times_are_for_those_that_may_run_again(each_service: Service, field: str) -> None:
    done, running, failed = (each_service.job(s) for s in (Status.SUCCEEDED, Status.RUNNING, Status.FAILED))

    refused = patch(each_service, done, {field: ALL[field]})

    assert (refused.status_code, refused.json()["code"]) == (409, "not_changeable")
    assert refused.json()["detail"].startswith(f"{field}: ")
    for job_id in (running, failed):
        assert patch(each_service, job_id, {field: ALL[field]}).json()[field] == ALL[field]
    assert patch(each_service, done, {"name": "kept", "labels": {}}).status_code == 200


def test_a_change_names_the_version_that_it_knows(each_service: Service) -> None:
    job_id = each_service.job(Status.RUNNING)
    known = read(each_service, job_id).headers["ETag"]
    patch(each_service, job_id, {"name": "first"}).raise_for_status()
    newest = read(each_service, job_id).headers["ETag"]

    missing, late = patch(each_service, job_id, {"name": "x"}, None), patch(each_service, job_id, {"name": "x"}, known)
    odd = patch(each_service, job_id, {"name": "x"}, "whatever")

    assert (missing.status_code, missing.json()["code"]) == (400, "if_match_missing")
    assert [(a.status_code, a.json()["code"]) for a in (late, odd)] == [(412, "precondition_failed")] * 2
    assert newest in late.json()["detail"]
    assert read(each_service, job_id).json()["name"] == "first"
    for number, form in enumerate((newest, "{}", '"0", {}', '{}, "0"')):
        tag = read(each_service, job_id).headers["ETag"]
        answer = patch(each_service, job_id, {"name": str(number)}, form.format(tag.removeprefix("W/")))
        assert answer.status_code == 200, form


def test_what_others_do_to_the_queue_is_no_other_version(each_service: Service) -> None:
    dataset = each_service.dataset()
    job_id = each_service.submit(dataset)["id"]
    known = read(each_service, job_id).headers["ETag"]
    each_service.submit(dataset, priority=9)
    assert read(each_service, job_id).headers["ETag"] != known

    assert patch(each_service, job_id, {"name": "x"}, known).status_code == 200


def test_two_changes_of_one_version_are_one(each_service: Service) -> None:
    job_id = each_service.job()
    known = read(each_service, job_id).headers["ETag"]

    answers = [patch(each_service, job_id, {"name": name}, known).status_code for name in ("a", "b")]

    assert (answers, read(each_service, job_id).json()["name"]) == ([200, 412], "a")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"priority": 101}, "/priority"),
        ({"priority": None}, "/priority"),
        ({"timeout_seconds": 0}, "/timeout_seconds"),
        ({"name": ""}, "/name"),
        ({"name": "a\0b"}, "/name"),
        ({"labels": {"": "x"}}, "/labels"),
        ({"labels": {str(n): "" for n in range(17)}}, "/labels"),
        ({"dataset": NOBODY["dataset"]}, "/dataset"),
        ({"deadline": "soon"}, "/deadline"),
        ({"deadline": "2126-12-01T18:00:00"}, "/deadline"),
        ({"deadline": 4_956_000_000}, "/deadline"),
        ({"deadline": "9999-12-31T23:59:59-12:00"}, "/deadline"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "/deadline"),
    ],
)
def test_bad_fields_are_refused_by_pointer(each_service: Service, body: dict[str, Any], pointer: str) -> None:
    job_id = each_service.job(**ALL)
    before = read(each_service, job_id).json()

    answer = patch(each_service, job_id, body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert read(each_service, job_id).json() == before


@pytest.mark.parametrize("deadline", ["2020-01-01T00:00:00Z", "2126-12-01", "x", 1, "0001-01-01T00:00:00+14:00"])
def test_a_job_is_not_taken_with_a_deadline_that_is_none(each_service: Service, deadline: Any) -> None:
    body = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": each_service.dataset()}

    answer = each_service.client.post("/v1/jobs", json=body | {"deadline": deadline})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"][0]["pointer"] == "/deadline"


def test_a_deadline_is_one_moment_in_every_zone(each_service: Service) -> None:
    moment = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
    zoned = (moment + timedelta(hours=5, minutes=30)).replace(tzinfo=None).isoformat() + "+05:30"

    job = each_service.submit(each_service.dataset(), deadline=zoned)

    assert datetime.fromisoformat(job["deadline"]) == moment
