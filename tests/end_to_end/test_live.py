"""Following a job from outside while real processes work on it: queue, workers, events, logs, long poll."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import BOTH, SERVERS, Service, quick, until
from tests.sse import Sent, events

STREAM = {"Accept": "text/event-stream"}


def follow(service: Service, job_id: str, seen: list[Sent], enough: Callable[[Sent], bool]) -> None:
    """Read a job's events from the last that was seen on, until there was enough or the stream ends; then hang up."""
    headers = STREAM | ({"Last-Event-ID": seen[-1].id} if seen else {})
    with service.client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        for event in events(response.iter_lines()):
            seen.append(event)
            if enough(event):
                return


def alive(service: Service) -> list[str]:
    return sorted(row["queue"] for row in service.client.get("/v1/workers").json()["data"] if row["alive"])


@pytest.mark.slow
@BOTH
def test_a_job_is_followed_to_its_end(service: Service, scenes: Path) -> None:
    for name in ("reaper", "inspect"):
        service.start(name)
    dataset = service.upload("datasets", scenes)
    service.checked("datasets", dataset)
    model = {"architecture": "yolov8n-half"}
    job_id = service.submit(kind="train", dataset=dataset, model=model, train=quick(3))

    [waiting] = service.job(job_id)["waiting_for"]
    assert (waiting["what"], waiting["position"]) == ("worker", 1)
    assert "no worker is connected" in waiting["detail"]
    queue = service.client.get("/v1/queue").json()
    assert ([row["id"] for row in queue["data"]], queue["workers"], queue["claimable"]) == ([job_id], 0, 1)

    train = service.start("train")
    seen: list[Sent] = []
    follow(service, job_id, seen, lambda event: event.event == "epoch")
    workers = service.client.get("/v1/workers").json()["data"]
    assert alive(service) == ["inspect", "train"]
    assert {"what": "job", "id": job_id} in [row["works_on"] for row in workers]
    follow(service, job_id, seen, lambda event: False)

    told = [json.loads(event.data) for event in seen]
    assert [event.id for event in seen] == [str(number) for number in range(1, len(seen) + 1)], service.logs()
    statuses = [row["data"]["to"] for row in told if row["type"] == "status"]
    assert statuses == ["queued", "starting", "running", "succeeded"]
    assert [row["data"]["epoch"] for row in told if row["type"] == "epoch"] == [1, 2, 3]
    assert [row["data"]["epoch"] for row in told if row["type"] == "checkpoint"] == [1, 2, 3]
    assert "result.json" in [row["data"]["name"] for row in told if row["type"] == "artifact"]
    assert told == service.client.get(f"/v1/jobs/{job_id}/events?limit=1000").json()["data"]

    [attempt] = service.client.get(f"/v1/jobs/{job_id}/attempts").json()["data"]
    assert (attempt["outcome"], attempt["worker"]) == ("succeeded", service.job(job_id)["worker"])
    last, _ = service.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
    assert (last["epoch"], last["is_last"], "student.pt" in [file["name"] for file in last["files"]]) == (3, True, True)
    log = service.client.get(f"/v1/jobs/{job_id}/logs")
    assert (log.status_code, str(service.folder) in log.text) == (200, False)
    assert log.text.count("\n") >= 1
    table = service.client.get(f"/v1/jobs/{job_id}/metrics", params={"format": "csv", "name": "losses"}).text
    assert [row["epoch"] for row in csv.DictReader(table.splitlines())] == ["1", "2", "3"]
    assert service.client.get(f"/v1/jobs/{job_id}?wait=60").json()["status"] == "succeeded"

    train.terminate()
    train.wait(30)
    until(lambda: [row["queue"] for row in service.client.get("/v1/workers").json()["data"]] == ["inspect"], 10)


@pytest.mark.slow
@SERVERS
def test_a_lost_worker_is_told_and_its_log_stays(service: Service, scenes: Path) -> None:
    for name in ("reaper", "inspect"):
        service.start(name)
    dataset = service.upload("datasets", scenes)
    service.checked("datasets", dataset)
    model = {"architecture": "yolov8n-half"}
    job_id = service.submit(kind="train", dataset=dataset, model=model, train=quick(200))
    worker = service.start("train")
    seen: list[Sent] = []
    follow(service, job_id, seen, lambda event: event.event == "checkpoint")
    logs = f"/v1/jobs/{job_id}/logs"
    before = until(lambda: service.client.get(logs).text, 20)
    worker.kill()

    follow(service, job_id, seen, lambda event: "worker_lost" in event.data)
    [attempt] = service.client.get(f"/v1/jobs/{job_id}/attempts").json()["data"]
    assert (attempt["outcome"], attempt["reason"]) == ("lost", "worker_lost")
    assert service.client.get(logs).text.startswith(before)
    until(lambda: "train" not in alive(service), 20)
    assert "no worker is connected" in service.job(job_id)["waiting_for"][0]["detail"]
    service.client.post(f"/v1/jobs/{job_id}/cancel")
    follow(service, job_id, seen, lambda event: False)

    assert [event.id for event in seen] == [str(number) for number in range(1, len(seen) + 1)]
    assert json.loads(seen[-1].data)["data"] | {"worker": None} == {
        "from": "queued", "to": "cancelled", "worker": None, "reason": "user_cancelled"
    }  # fmt: skip
