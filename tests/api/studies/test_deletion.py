"""Deleting studies: all that they had made goes, and nothing of which another has need."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from api.jobs.lifecycle import Ending
from api.storage.deletions import Discard
from api.studies.deletion import delete_study
from api.tables.jobs import Artifact, Job
from api.tables.states import Status
from api.tables.studies import Study, StudyMember
from tests.api.conftest import Service
from tests.api.studies.test_studies import job, post, reap, succeed

TABLES = (Study, StudyMember, Job, Artifact, Discard)


def delete(service: Service, study: dict[str, Any]) -> tuple[int, str | None]:
    answer = service.client.delete(study["links"]["self"])
    return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else None


def counts(service: Service) -> list[int]:
    with service.database.transaction() as session:
        return [session.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in TABLES]


def stored(service: Service) -> list[str]:
    return [file for file in service.files() if file.startswith("jobs/")]


def test_a_study_goes_with_its_jobs_their_predecessors_its_reports_and_all_files(
    each_service: Service, tmp_path: Any
) -> None:
    other = each_service.job()
    held = each_service.claim()
    succeed(each_service, held, tmp_path)
    study = post(each_service)
    each_service.end(each_service.claim(), Status.FAILED)  # the teacher
    resumed = each_service.client.post(study["links"]["resume"]).json()
    for _ in resumed["members"]:
        succeed(each_service, each_service.claim(), tmp_path)
    succeed(each_service, each_service.claim(), tmp_path)
    assert len(reap(each_service)) == 1
    report = each_service.claim()
    each_service.publish(report, 0, b"# Study", tmp_path, "report.md")
    each_service.finish(report, Ending(Status.SUCCEEDED, result={}))
    assert len(stored(each_service)) == 7

    assert delete(each_service, study) == (204, None)

    assert delete(each_service, study) == (404, "not_found")
    assert counts(each_service) == [0, 0, 1, 1, 0]
    assert stored(each_service) == [f"jobs/{other}/attempt-1/epoch-1/student.pt"]


def test_a_study_stays_while_a_job_of_it_goes_on(each_service: Service) -> None:
    study = post(each_service)
    held = each_service.claim()
    before = counts(each_service)

    assert delete(each_service, study) == (409, "not_ended")

    assert counts(each_service) == before
    each_service.client.post(study["links"]["cancel"]).raise_for_status()
    each_service.end(held, Status.CANCELLED)
    assert delete(each_service, study) == (204, None)


def test_what_another_needs_keeps_the_whole_study(each_service: Service) -> None:
    study = post(each_service)
    other = each_service.job(model={"job": study["teacher"]["job"]})
    each_service.client.post(study["links"]["cancel"]).raise_for_status()
    before = counts(each_service)

    refused = each_service.client.delete(study["links"]["self"])

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert other in refused.json()["detail"]
    assert counts(each_service) == before
    assert job(each_service, study["members"][0]["job"])["status"] == "cancelled"


@pytest.mark.slow
def test_another_owners_study_is_not_there(each_service: Service) -> None:
    eve = each_service.key("eve")
    each_service.client.headers.update(each_service.key("alice"))
    study = post(each_service)
    each_service.client.post(study["links"]["cancel"]).raise_for_status()

    answer = each_service.client.delete(study["links"]["self"], headers=eve)

    assert answer.status_code == 404
    assert counts(each_service)[0] == 1


def test_whoever_extends_a_study_that_is_being_deleted_finds_none(each_service: Service) -> None:
    study = post(each_service)
    each_service.client.post(study["links"]["cancel"]).raise_for_status()
    answers: list[int] = []

    def extend() -> None:
        answers.append(each_service.client.post(study["links"]["extend"], json={"seeds": [7]}).status_code)

    other = threading.Thread(target=extend)
    with each_service.database.transaction() as session:
        delete_study(session, study["id"])
        other.start()
        other.join(0.5)  # it waits for this transaction
        assert not answers
    other.join(30)

    assert answers == [404]
    assert counts(each_service)[:3] == [0, 0, 0]
