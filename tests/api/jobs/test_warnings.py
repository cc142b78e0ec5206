"""What trainers warn of: shown with the job, counted, and never too much."""

from datetime import datetime
from typing import Any

import pytest

from api.jobs import warnings
from api.tables.leases import Fenced
from api.tables.states import Status
from rdrkd.epochs import place_in
from tests.api.conftest import Service

LONG = "ß" * 10_000


def shown(service: Service, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.client.get(f"/v1/jobs/{job_id}").json()["warnings"]
    return found


def test_a_job_shows_its_warnings(each_service: Service) -> None:
    job_id = each_service.job()
    assert shown(each_service, job_id) == []
    held = each_service.bring(job_id, Status.RUNNING)

    each_service.warn(held, "term_weak", "ld: hardly moves the student", epoch=3)
    each_service.warn(held, "dataset", "12 images have no label file")

    job = each_service.client.get(f"/v1/jobs/{job_id}").json()
    once = {"count": 1, "attempt": 1, "at": None}
    third, nowhere = place_in({}, 3)._asdict(), place_in({}, None)._asdict()
    assert [warning | {"at": None} for warning in job["warnings"]] == [
        {"code": "term_weak", "message": "ld: hardly moves the student", "epoch": 3, **third, **once},
        {"code": "dataset", "message": "12 images have no label file", "epoch": None, **nowhere, **once},
    ]
    for warning in job["warnings"]:
        assert datetime.fromisoformat(warning["at"]) >= datetime.fromisoformat(job["started_at"])


def test_a_warning_is_news_to_who_polls(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    for _ in range(2):  # the second is only counted
        etag = each_service.client.get(f"/v1/jobs/{job_id}").headers["ETag"]
        each_service.warn(held, "dataset", "odd")
        response = each_service.client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag})
        assert response.status_code == 200


def test_the_same_again_is_counted_by_attempt(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    each_service.warn(held, "nan_recovery", "epoch 3", 3)
    each_service.warn(held, "nan_recovery", "epoch 4")
    each_service.warn(held, "other", "epoch 3")
    each_service.requeue(held)
    each_service.warn(each_service.claim(), "nan_recovery", "epoch 3", 2)

    warned = [(w["attempt"], w["code"], w["message"], w["count"]) for w in shown(each_service, job_id)]

    assert warned == [
        (1, "nan_recovery", "epoch 3", 3),
        (1, "nan_recovery", "epoch 4", 1),
        (1, "other", "epoch 3", 1),
        (2, "nan_recovery", "epoch 3", 2),
    ]


def test_the_epoch_is_the_first_in_which_it_came(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    for epoch in (3, 5):
        each_service.warn(held, "nan_recovery", "trained again", epoch=epoch)
    each_service.requeue(held)
    each_service.warn(each_service.claim(), "nan_recovery", "trained again", epoch=4)

    assert [(w["attempt"], w["epoch"], w["count"]) for w in shown(each_service, job_id)] == [(1, 3, 2), (2, 4, 1)]


@pytest.mark.slow
def test_there_is_a_last_one_that_counts_the_rest(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    for number in range(warnings.MOST + 50):
        each_service.warn(held, "dataset", f"image {number}", epoch=7)
    each_service.warn(held, "dataset", "image 0", 5)  # known: counted where it is
    each_service.requeue(held)
    each_service.warn(each_service.claim(), "dataset", "image 0", 2)  # new, since of another attempt

    warned = shown(each_service, job_id)

    assert len(warned) == warnings.MOST + 1
    assert [warning["count"] for warning in warned] == [6, *[1] * (warnings.MOST - 1), 52]
    assert (warned[-1]["code"], warned[-1]["attempt"]) == (warnings.MORE, 1)
    assert str(warnings.MOST) in warned[-1]["message"]
    assert (warned[0]["epoch"], warned[-1]["epoch"]) == (7, None)


def test_long_and_odd_texts_fit(each_service: Service) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    each_service.warn(held, LONG, LONG)
    each_service.warn(held, "c\0", "a\0b <script>'; DROP TABLE job_warning;-- \U0001f681")
    each_service.warn(held, "", "")

    long, odd, empty = shown(each_service, job_id)

    assert (len(long["code"]), len(long["message"])) == (100, 500)
    assert long["message"].endswith("ß…")
    assert (odd["code"], odd["message"][:3]) == ("c\ufffd", "a\ufffdb")
    assert odd["message"].endswith("\U0001f681")
    assert (empty["code"], empty["message"]) == ("", "")


def test_an_attempt_that_no_longer_holds_the_job_writes_no_warning(each_service: Service) -> None:
    job_id = each_service.job()
    late = each_service.bring(job_id, Status.RUNNING)
    each_service.requeue(late)
    with pytest.raises(Fenced):
        each_service.warn(late, "late", "from afar")
    present = each_service.claim()
    with pytest.raises(Fenced):
        each_service.warn(late, "late", "from afar")
    each_service.end(present, Status.SUCCEEDED)
    with pytest.raises(Fenced):
        each_service.warn(present, "late", "after the end")

    assert shown(each_service, job_id) == []


@pytest.mark.parametrize("status", [Status.CANCELLING, Status.CANCELLED, Status.FAILED, Status.SUCCEEDED])
def test_warnings_stay(service: Service, status: Status) -> None:
    job_id = service.job()
    held = service.bring(job_id, Status.RUNNING)
    service.warn(held, "dataset", "odd")
    if status in (Status.CANCELLING, Status.CANCELLED):
        service.client.post(f"/v1/jobs/{job_id}/cancel")
    if status != Status.CANCELLING:
        service.end(held, status)

    assert [warning["message"] for warning in shown(service, job_id)] == ["odd"]


def test_a_page_of_jobs_has_no_warnings(service: Service) -> None:
    job_id = service.job()
    service.warn(service.bring(job_id, Status.RUNNING), "dataset", "odd")

    [job] = service.client.get("/v1/jobs").json()["data"]

    assert set(service.client.get(f"/v1/jobs/{job_id}").json()) - set(job) == {"earlier", "warnings"}
