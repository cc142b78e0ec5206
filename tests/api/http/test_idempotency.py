"""Idempotency keys: the same request again creates nothing, whatever befell the first."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import func, select, update

from api.access import idempotency as keys
from api.access.idempotency import Claim
from api.db import after_seconds
from api.reaper import Reaper
from api.tables.idempotency import IdempotencyKey
from api.tables.jobs import Job
from api.tables.resumable import ResumableUpload
from tests.api.conftest import ZIP, Service
from tests.api.uploads.resumable.test_announcement import metadata


def post(service: Service, key: str = "k", path: str = "/v1/jobs", **request: Any) -> Response:
    return service.client.post(path, headers={"Idempotency-Key": key}, **request)


def spec(dataset: str, **changes: Any) -> dict[str, Any]:
    return {"json": {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": dataset} | changes}


def jobs(service: Service) -> int:
    with service.database.transaction() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def rows(service: Service) -> list[tuple[str, int | None]]:
    with service.database.transaction() as session:
        return [(row.key, row.status) for row in session.scalars(select(IdempotencyKey))]


def change(service: Service, **values: Any) -> None:
    with service.database.transaction() as session:
        session.execute(update(IdempotencyKey).values(values))


def same(first: Response, again: Response) -> bool:
    shown = [(r.status_code, r.json(), r.headers["Location"], r.headers["Retry-After"]) for r in (first, again)]
    return shown[0] == shown[1]


def test_the_same_request_again_is_answered_alike_and_creates_nothing(each_service: Service) -> None:
    body = spec(each_service.dataset())

    first, again, other = (post(each_service, key, **body) for key in ("k", "k", " any ~ text"))

    assert first.status_code == 202
    assert same(first, again)
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert other.json()["id"] != first.json()["id"]
    assert jobs(each_service) == 2
    each_service.client.post(f"/v1/jobs/{first.json()['id']}/cancel")
    assert same(first, post(each_service, "k", **body))  # as it was answered then


@pytest.mark.parametrize("feature", ["datasets", "models"])
def test_an_upload_again_is_compared_by_its_content(each_service: Service, feature: str) -> None:
    name, path = "a.zip" if feature == "datasets" else "a.pt", f"/v1/{feature}"
    first = post(each_service, path=path, files={"file": (name, b"content")})
    stored = each_service.files()

    again = post(each_service, path=path, files={"file": (name, b"content")})
    others = [
        post(each_service, path=path, files={"file": (name, b"more")}),
        post(each_service, path=path, files={"file": (name, b"content")}, data={"name": "n"}),
        post(each_service, path=path, files={"file": ("b" + name, b"content")}),
    ]

    assert same(first, again)
    assert [other.json()["code"] for other in others] == ["idempotency_key_reused"] * 3
    assert each_service.files() == stored  # nothing of the others was kept
    assert len(each_service.client.get(path).json()["data"]) == 1


def test_an_announcement_again_begins_no_second_upload(each_service: Service) -> None:
    def announce(length: int = 10, **fields: str) -> Response:
        said = metadata(**({"kind": "dataset", "filename": "a.zip"} | fields))
        headers = {"Idempotency-Key": "k", "Upload-Length": str(length), "Upload-Metadata": said}
        return each_service.client.post("/v1/uploads", headers=headers)

    refused, first, again = announce(length=0), announce(), announce()
    others = [announce(length=11), announce(name="n"), announce(kind="model", filename="a.pt")]

    assert (refused.status_code, first.status_code, again.status_code) == (422, 201, 201)
    assert (first.json(), first.headers["Location"]) == (again.json(), again.headers["Location"])
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert [other.json()["code"] for other in others] == ["idempotency_key_reused"] * 3
    with each_service.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(ResumableUpload)) == 1
    assert len(each_service.files()) == 1


def test_a_study_again_queues_no_job(each_service: Service) -> None:
    teacher = {"model": {"architecture": "yolov8l"}, "train": {"epochs": 1}}
    body = {"name": "s", "dataset": each_service.dataset(), "teacher": teacher, "student": {"architecture": "yolov8n"}}
    body |= {"methods": ["none", "rdr-kd"], "seeds": [0]}

    first, again = (post(each_service, path="/v1/studies", json=body) for _ in range(2))

    assert same(first, again)
    assert jobs(each_service) == 3


def test_a_refused_request_leaves_its_key_free(each_service: Service) -> None:
    dataset = each_service.dataset()
    refused = [
        post(each_service, **spec(dataset, epochs=1)),
        post(each_service, **spec("ds_" + "0" * 32)),
        post(each_service, path="/v1/datasets", files={"file": ("a.txt", b"x")}),
    ]

    assert [answer.status_code for answer in refused] == [422, 422, 415]
    assert rows(each_service) == []
    assert post(each_service, **spec(dataset)).status_code == 202


def test_one_key_at_two_addresses_is_two_requests(service: Service) -> None:
    assert post(service, path="/v1/datasets", files={"file": ZIP}).status_code == 202
    assert post(service, path="/v1/models", files={"file": ("data.pt", ZIP[1])}).status_code == 422


def test_many_at_once_create_one(each_service: Service) -> None:
    body = spec(each_service.dataset())

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(each_service, **body), range(12)))

    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"idempotency_key_in_flight"}
    assert jobs(each_service) == 1


def test_a_claim_of_a_process_that_died_runs_out(each_service: Service) -> None:
    body = spec(each_service.dataset())
    first = post(each_service, **body).json()["id"]
    change(each_service, status=None, body=None, claimed_until=after_seconds(60))  # as if it had died before its commit

    waits = post(each_service, **body)
    change(each_service, claimed_until=after_seconds(-1))
    taken = post(each_service, **body)

    assert (waits.status_code, waits.json()["code"]) == (409, "idempotency_key_in_flight")
    assert int(waits.headers["Retry-After"]) > 0
    assert (taken.status_code, "Idempotency-Replayed" in taken.headers) == (202, False)
    assert taken.json()["id"] != first
    assert post(each_service, **body).json() == taken.json()


def test_who_comes_back_after_its_claim_ran_out_answers_nothing(each_service: Service) -> None:
    late, next_ = Claim.new("k", "f" * 64, "key_1"), Claim.new("k", "f" * 64, "key_1")
    with each_service.database.transaction() as session:
        keys.add(session, late)
    change(each_service, claimed_until=after_seconds(-1))
    with each_service.database.transaction() as session:
        assert keys.take_over(session, next_) is None

    with pytest.raises(keys.KeyInFlight), each_service.database.transaction() as session:
        keys.keep(session, late, keys.Answer(202, {}, "{}"))
    with each_service.database.transaction() as session:
        keys.release(session, late)

    assert rows(each_service) == [("k", None)]  # the other's claim stands


@pytest.mark.parametrize("key", ["", "x" * 256, "k\u00e4se", "a\tb"])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/datasets"])
def test_keys_of_another_form_are_refused_before_anything_is_stored(service: Service, path: str, key: str) -> None:
    content = {"files": {"file": ZIP}} if path == "/v1/datasets" else {"json": {}}
    answer = service.client.post(path, headers=[("Idempotency-Key", key.encode("latin-1"))], **content)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"
    assert service.files() == []


def test_two_keys_are_one_too_many(service: Service) -> None:
    answer = service.client.post("/v1/jobs", headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")], json={})

    assert answer.json()["errors"][0]["detail"].endswith("got 2 of them")


def test_the_longest_key_is_taken(each_service: Service) -> None:
    assert post(each_service, "~" * 255, **spec(each_service.dataset())).status_code == 202


def test_keys_are_forgotten_after_a_day(each_service: Service) -> None:
    body = spec(each_service.dataset())
    first = post(each_service, **body)
    reaper = Reaper(each_service.app.state.settings)

    change(each_service, created_at=after_seconds(-86_000))
    reaper.sweep()
    kept = post(each_service, **body)
    change(each_service, created_at=after_seconds(-86_401))
    reaper.sweep()

    assert kept.json() == first.json()
    assert rows(each_service) == []
    assert post(each_service, **body).json()["id"] != first.json()["id"]
    reaper.database.engine.dispose()
