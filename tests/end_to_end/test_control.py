"""Control of jobs in a whole service: paused, resumed, retried and deleted under live workers and the real trainer."""

from pathlib import Path

import pytest

from tests.end_to_end.conftest import Service, quick, until

pytestmark = pytest.mark.slow

EPOCHS = 8


def begin(service: Service, scenes: Path, **more: object) -> str:
    for name in ("reaper", "inspect", "train"):
        service.start(name)
    dataset = service.upload("datasets", scenes)
    assert service.checked("datasets", dataset)["status"] == "ready"
    model = {"architecture": "yolov8n-half"}
    return service.submit(kind="train", dataset=dataset, model=model, train=quick(EPOCHS), **more)


def attempts(service: Service, job_id: str) -> dict[int, int]:
    """Return the attempt that has trained each epoch."""
    rows = service.client.get(f"/v1/jobs/{job_id}/metrics").json()["data"]
    return {row["epoch"]: row["attempt"] for row in rows}


def ask(service: Service, job_id: str, tail: str, status: int, **body: str) -> None:
    answer = service.client.post(f"/v1/jobs/{job_id}/{tail}", json=body)
    assert answer.status_code == status, answer.text


# Each way once and each backend once: the moves themselves are tried on both in tests/api/control.
@pytest.mark.parametrize(("backend", "how"), [("embedded", "save"), ("servers", "latest")], indirect=["backend"])
def test_a_job_is_paused_and_goes_on_where_it_was(service: Service, scenes: Path, how: str) -> None:
    job_id = begin(service, scenes)
    until(lambda: service.checkpoint_of(job_id, attempt=1))

    ask(service, job_id, "pause", 202, checkpoint=how)
    paused = service.wait(job_id, "paused", seconds=60)
    kept = service.checkpoint_of(job_id, attempt=1)
    second = service.submit(**{**paused["spec"], "train": quick(1)})
    assert service.wait(second)["status"] == "succeeded"  # its worker is free
    assert service.job(job_id)["status"] == "paused"
    assert service.client.get(f"/v1/jobs/{job_id}/weights").status_code == 200
    ask(service, job_id, "resume", 202)

    job = service.wait(job_id)
    assert (job["status"], job["attempt"], job["lost_workers"]) == ("succeeded", 2, 0), service.logs()
    assert kept is not None
    assert attempts(service, job_id) == {epoch: 1 if epoch <= kept else 2 for epoch in range(1, EPOCHS + 1)}


@pytest.mark.parametrize(
    ("backend", "start"), [("servers", "checkpoint"), ("embedded", "scratch")], indirect=["backend"]
)
def test_a_job_is_retried_and_deleted(service: Service, scenes: Path, start: str) -> None:
    job_id = begin(service, scenes)
    until(lambda: service.checkpoint_of(job_id, attempt=1))
    ask(service, job_id, "cancel", 202)
    assert service.wait(job_id)["status"] == "cancelled"
    kept = service.checkpoint_of(job_id, attempt=1)

    ask(service, job_id, "retry", 202, **{"from": start})

    job = service.wait(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), service.logs()
    assert [(end["status"], end["reason"]) for end in job["earlier"]] == [("cancelled", "user_cancelled")]
    assert kept is not None
    first = range(1, kept + 1) if start == "checkpoint" else range(0)
    assert attempts(service, job_id) == {epoch: 1 if epoch in first else 2 for epoch in range(1, EPOCHS + 1)}
    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert not (service.folder / "var" / "storage" / "jobs" / job_id).exists()
