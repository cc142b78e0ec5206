"""What a job leaves beside its weights: the list, each file by its name, and what may not be had."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from api.jobs.claims import Held
from api.tables.states import HELD, Status
from tests.api.conftest import NOBODY, Service
from worker.checkpoint_transfer import FINAL

LEFT = {  # name: media type
    "metrics.jsonl": "application/x-ndjson",
    "report.html": "text/html; charset=utf-8",
    "report.png": "image/png",
    "resolved_spec.json": "application/json",
    "result.json": "application/json",
    "student.pt": "application/octet-stream",
    "student.safetensors": "application/octet-stream",
    "warnings.jsonl": "application/x-ndjson",
}
NO_NAMES = [
    "state.pt",  # the resume state is internal
    "other.pt",
    "STUDENT.PT",
    "student.pt ",
    "%00",
    "student.pt%00",
    "%F0%9F",
    "%2e%2e",
    "..%2fstudent.pt",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2fetc%2fpasswd",
    "..%5cstudent.pt",
    ".%2fstudent.pt",
    "epoch-1%2fstudent.pt",
    quote("*?[]'\";--"),
    "%25s",
    "x" * 60_000,
    "",
]
HOSTILE = b"<html><script>fetch('/v1/jobs')</script></html>"


def leave(service: Service, held: Held, folder: Path, epoch: int = 1, names: tuple[str, ...] = (*LEFT,)) -> None:
    """Publish files whose content is their name and epoch, and a state to resume from."""
    for name in (*names, "state.pt"):
        service.publish(held, epoch, f"{name} of epoch {epoch}".encode(), folder, name)


@pytest.fixture
def job(service: Service, tmp_path: Path) -> str:
    """Return the address of a running job that has left every kind of file."""
    job_id = service.job(name="n")
    leave(service, service.bring(job_id, Status.RUNNING), tmp_path)
    return f"/v1/jobs/{job_id}"


def test_the_list_names_the_newest_version_of_every_file(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    address = each_service.client.get(f"/v1/jobs/{job_id}").json()["links"]["artifacts"]

    early = each_service.client.get(address)
    leave(each_service, held, tmp_path)
    leave(each_service, held, tmp_path, 2, ("student.pt", "metrics.jsonl"))
    files = {file["name"]: file for file in each_service.client.get(address).json()["data"]}

    assert (early.status_code, early.json()) == (200, {"data": []})
    assert list(files) == sorted(LEFT)
    for name, file in files.items():
        epoch = 2 if name in ("student.pt", "metrics.jsonl") else 1
        content = each_service.client.get(file["link"])
        assert (file["epoch"], file["attempt"], file["media_type"]) == (epoch, 1, LEFT[name])
        assert content.content == f"{name} of epoch {epoch}".encode()
        assert content.headers["Content-Type"] == LEFT[name]
        assert content.headers["Content-Disposition"] == f'attachment; filename="{job_id}-{name}"'
        assert (file["size"], f'"{file["sha256"]}"') == (len(content.content), content.headers["ETag"])
        assert file["created_at"].endswith("Z")


def test_a_later_attempt_is_newer_than_a_later_epoch(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    first = each_service.bring(job_id, Status.RUNNING)
    leave(each_service, first, tmp_path, 7, ("student.pt", "metrics.jsonl"))
    each_service.requeue(first)
    leave(each_service, each_service.claim(), tmp_path, 3, ("student.pt",))

    files = each_service.client.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]

    newest = [(file["name"], file["attempt"], file["epoch"]) for file in files]
    assert newest == [("metrics.jsonl", 1, 7), ("student.pt", 2, 3)]
    assert each_service.client.get(files[1]["link"]).content == b"student.pt of epoch 3"


def test_an_unchanged_list_is_not_sent_again(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    address = f"/v1/jobs/{job_id}/artifacts"
    leave(each_service, held, tmp_path)
    etag = each_service.client.get(address).headers["ETag"]

    each_service.progress(held, completed=1)
    same = each_service.client.get(address, headers={"If-None-Match": etag})
    leave(each_service, held, tmp_path)  # again, as after a commit whose answer was lost
    changed = each_service.client.get(address, headers={"If-None-Match": etag})

    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    assert (changed.status_code, changed.headers["ETag"] != etag) == (200, True)


@pytest.mark.parametrize("status", Status)
def test_files_stay_in_every_state(each_service: Service, tmp_path: Path, status: Status) -> None:
    job_id = each_service.job()
    held = each_service.bring(job_id, Status.RUNNING)
    leave(each_service, held, tmp_path)
    if status in (Status.QUEUED, Status.STARTING):
        each_service.requeue(held)
    if status in (Status.CANCELLING, Status.CANCELLED):
        each_service.client.post(f"/v1/jobs/{job_id}/cancel")
    if status == Status.STARTING:
        each_service.claim()
    if status in (Status.PAUSING, Status.PAUSED):
        each_service.client.post(f"/v1/jobs/{job_id}/pause")
    if status == Status.PAUSED:
        each_service.requeue(held)
    if status in (Status.CANCELLED, Status.FAILED, Status.SUCCEEDED):
        each_service.end(held, status)

    assert each_service.client.get(f"/v1/jobs/{job_id}").json()["status"] == status
    files = each_service.client.get(f"/v1/jobs/{job_id}/artifacts").json()["data"]
    assert [file["name"] for file in files] == sorted(LEFT)
    assert all(each_service.client.get(file["link"]).status_code == 200 for file in files)


@pytest.mark.parametrize("status", Status)
def test_without_a_file_nothing_is_ready_in_any_state(service: Service, tmp_path: Path, status: Status) -> None:
    job_id = service.job(status)
    if status in HELD:
        held = Held(job_id, 1, "train", {}, 60)
        service.publish(held, 1, b"state", tmp_path, "state.pt")  # no file that anybody may have

    for name in ("student.pt", "report.html", "state.pt"):
        response = service.client.get(f"/v1/jobs/{job_id}/artifacts/{name}")
        assert (response.status_code, response.json()["code"]) == (409, "not_ready")
    assert service.client.get(f"/v1/jobs/{job_id}/artifacts").json() == {"data": []}


@pytest.mark.slow
def test_names_that_are_none(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    leave(each_service, each_service.bring(job_id, Status.RUNNING), tmp_path, names=("student.pt",))

    for name in NO_NAMES:
        for method in ("GET", "HEAD"):
            response = each_service.client.request(method, f"/v1/jobs/{job_id}/artifacts/{name}")
            assert response.status_code == 404, name
            assert method == "HEAD" or response.json()["code"] == "not_found", name


def test_an_unknown_name_is_answered_with_those_that_there_are(service: Service, job: str) -> None:
    detail = service.client.get(f"{job}/artifacts/reprot.html").json()["detail"]

    assert "report.html" in detail
    assert "state.pt" not in detail


def test_names_and_files_of_other_jobs_are_unknown(service: Service, job: str, tmp_path: Path) -> None:
    other = service.job()
    leave(service, service.bring(other, Status.RUNNING), tmp_path, names=("own.json",))

    assert service.client.get(f"{job}/artifacts/own.json").status_code == 404
    assert service.client.get(f"/v1/jobs/{other}/artifacts/student.pt").status_code == 404
    for tail in ("", "/student.pt"):
        nobody = service.client.get(f"/v1/jobs/{NOBODY['job']}/artifacts{tail}")
        assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")


def test_a_file_that_was_removed_is_gone_and_the_others_stay(service: Service, job: str) -> None:
    [key] = [name for name in service.files() if name.endswith("report.png")]
    service.storage.delete(key)

    gone = service.client.get(f"{job}/artifacts/report.png")

    assert (gone.status_code, gone.json()["code"]) == (410, "gone")
    assert service.client.get(f"{job}/artifacts/report.html").status_code == 200


@pytest.mark.parametrize("asked", ["", "?disposition=attachment", "?disposition=inline"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_html_runs_nothing(service: Service, job: str, tmp_path: Path, method: str, asked: str) -> None:
    held = Held(job.rpartition("/")[2], 1, "train", {}, 60)
    service.publish(held, 1, HOSTILE, tmp_path, "report.html")

    response = service.client.request(method, f"{job}/artifacts/report.html{asked}")

    policy = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert response.headers["Content-Security-Policy"] == policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    disposition = "inline" if "inline" in asked else "attachment"
    assert response.headers["Content-Disposition"] == f'{disposition}; filename="n-report.html"'


def test_parts_and_versions_of_html_are_guarded_likewise(service: Service, job: str) -> None:
    address = f"{job}/artifacts/report.html"
    whole = service.client.get(address)

    part = service.client.get(address, headers={"Range": "bytes=0-3"})
    same = service.client.get(address, headers={"If-None-Match": whole.headers["ETag"]})

    assert (part.status_code, same.status_code) == (206, 304)
    # A cache takes the headers of a 304 over: without the policy there it would lose it.
    for response in (part, same):
        assert response.headers["Content-Security-Policy"] == whole.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["page.htm", "page.xhtml", "image.svg", "page.HTML", "script.js", "html", "x.xml"])
def test_what_a_browser_might_run_is_opaque(service: Service, job: str, tmp_path: Path, name: str) -> None:
    held = Held(job.rpartition("/")[2], 1, "train", {}, 60)
    service.publish(held, 1, HOSTILE, tmp_path, name)

    response = service.client.get(f"{job}/artifacts/{name}?disposition=inline")

    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_an_odd_disposition_names_the_parameter(service: Service, job: str) -> None:
    response = service.client.get(f"{job}/artifacts/report.html?disposition=form-data")

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["errors"][0]["parameter"] == "disposition"


def test_json_can_be_read_in_the_browser(service: Service, job: str, tmp_path: Path) -> None:
    held = Held(job.rpartition("/")[2], 1, "train", {}, 60)
    service.publish(held, 1, json.dumps({"kind": "train"}).encode(), tmp_path, "result.json")

    response = service.client.get(f"{job}/artifacts/result.json", params={"disposition": "inline"})

    assert response.json() == {"kind": "train"}
    assert response.headers["Content-Disposition"].startswith("inline")


def test_a_refused_name_lists_every_file_that_may_be_had(service: Service, tmp_path: Path) -> None:
    """Of a finished run with a baseline: more than a dozen, of which the weights come last."""
    held = service.bring(service.job(), Status.RUNNING)
    leave(service, held, tmp_path, 2, FINAL)
    address = f"/v1/jobs/{held.id}/artifacts"
    listed = [file["name"] for file in service.client.get(address).json()["data"]]

    detail = service.client.get(f"{address}/student.pth").json()["detail"]

    assert listed == sorted(FINAL)
    assert f"({', '.join(listed)})" in detail
    assert all(service.client.get(f"{address}/{name}").status_code == 200 for name in listed)


def test_a_job_without_weights_names_the_files_that_it_has(service: Service, tmp_path: Path) -> None:
    held = service.bring(service.job(), Status.RUNNING)
    leave(service, held, tmp_path, 0, ("model.onnx", "result.json"))
    refused = service.client.get(f"/v1/jobs/{held.id}/weights")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert refused.json()["detail"].endswith("but these files: model.onnx, result.json")


def test_files_name_the_training_that_they_belong_to(service: Service, tmp_path: Path) -> None:
    """The student's weights are published again with each checkpoint of the student alone."""
    held = service.with_baseline(epochs=2)
    leave(service, held, tmp_path, 2, ("student.pt",))
    leave(service, held, tmp_path, 4, ("student.pt", "alone.pt", "report.html", "predictions-1.jpg"))

    files = {file["name"]: file for file in service.client.get(f"/v1/jobs/{held.id}/artifacts").json()["data"]}

    fields = ("epoch", "part", "part_epoch", "part_epochs")
    assert {name: tuple(file[field] for field in fields) for name, file in files.items()} == {
        "student.pt": (4, "student", 2, 2), "alone.pt": (4, "alone", 2, 2), "report.html": (4, None, None, None),
        "predictions-1.jpg": (4, None, None, None),
    }  # fmt: skip
