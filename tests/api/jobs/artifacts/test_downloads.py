"""Downloading a job's files: the same code for weights and artifacts; whole, by range, or not at all."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.tables.states import Status
from tests.api.conftest import Service, Start

CONTENT = bytes(range(256)) * 8


@pytest.fixture(params=["folder", "bucket"])
def service(request: pytest.FixtureRequest, start: Start) -> Iterator[Service]:
    """A service whose files lie in a folder, and one that passes on those of a bucket."""
    bucket = request.getfixturevalue("s3").settings(s3_redirect=False) if request.param == "bucket" else {}
    with start(**bucket) as running:
        yield running


@pytest.fixture(params=["weights", "artifacts/student.pt"])
def published(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> str:
    """Return the address of a running job's weights, by either of its addresses."""
    job_id = service.job(name="n from l / Größe")
    held = service.bring(job_id, Status.RUNNING)
    service.publish(held, 1, CONTENT, tmp_path)
    return f"/v1/jobs/{job_id}/{request.param}"


def test_the_newest_checkpoint_is_handed_out(each_service: Service, tmp_path: Path) -> None:
    job_id = each_service.job()
    address = f"/v1/jobs/{job_id}/weights"
    held = each_service.bring(job_id, Status.RUNNING)

    early = each_service.client.get(address)
    each_service.publish(held, 1, b"first", tmp_path)
    each_service.publish(held, 1, b"safe", tmp_path, "student.safetensors")
    each_service.publish(held, 1, b"state", tmp_path, "state.pt")
    first = each_service.client.get(address)
    each_service.publish(held, 2, b"second", tmp_path)
    second = each_service.client.get(address, headers={"If-None-Match": first.headers["ETag"]})

    assert (early.status_code, early.json()["code"]) == (409, "not_ready")
    assert (first.status_code, first.content) == (200, b"first")
    assert (second.status_code, second.content) == (200, b"second")
    assert each_service.client.get(address, params={"format": "safetensors"}).content == b"safe"
    assert each_service.client.get(address, params={"format": "onnx"}).json()["code"] == "invalid"


def test_headers_tell_content_and_name(service: Service, published: str) -> None:
    response = service.client.get(published)

    digest = hashlib.sha256(CONTENT)
    assert response.content == CONTENT
    assert response.headers["ETag"] == f'"{digest.hexdigest()}"'
    assert response.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert response.headers["Content-Disposition"] == 'attachment; filename="n-from-l-Gr-e-student.pt"'
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_head_is_get_without_the_body(service: Service, published: str) -> None:
    get, head = service.client.get(published), service.client.head(published)

    assert (head.status_code, head.content) == (200, b"")
    same = ("ETag", "Content-Length", "Accept-Ranges", "Repr-Digest")
    assert {name: head.headers[name] for name in same} == {name: get.headers[name] for name in same}


def test_the_same_version_is_not_sent_again(service: Service, published: str) -> None:
    etag = service.client.head(published).headers["ETag"]

    for method in ("GET", "HEAD"):
        response = service.client.request(method, published, headers={"If-None-Match": etag})
        assert (response.status_code, response.content, response.headers["ETag"]) == (304, b"", etag)


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, len(CONTENT)), ("bytes=-5", len(CONTENT) - 5, len(CONTENT))],
)
def test_ranges(service: Service, published: str, asked: str, first: int, end: int) -> None:
    response = service.client.get(published, headers={"Range": asked})

    assert (response.status_code, response.content) == (206, CONTENT[first:end])
    assert response.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(CONTENT)}"


def test_several_ranges_at_once(service: Service, published: str) -> None:
    response = service.client.get(published, headers={"Range": "bytes=0-3,10-13"})

    assert response.status_code == 206
    assert response.headers["Content-Type"].startswith("multipart/byteranges")
    assert CONTENT[0:4] in response.content
    assert CONTENT[10:14] in response.content


def test_an_interrupted_download_goes_on_only_with_the_same_content(service: Service, published: str) -> None:
    etag = service.client.head(published).headers["ETag"]

    same = service.client.get(published, headers={"Range": "bytes=1000-", "If-Range": etag})
    other = service.client.get(published, headers={"Range": "bytes=1000-", "If-Range": '"older"'})

    assert (same.status_code, same.content) == (206, CONTENT[1000:])
    assert (other.status_code, other.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ("bytes=5000-", 416, "range_not_satisfiable"),
        ("bytes=a-b", 400, "bad_request"),
        ("apples=1-2", 400, "bad_request"),
    ],
)
def test_bad_ranges_are_problems(service: Service, published: str, asked: str, status: int, code: str) -> None:
    response = service.client.get(published, headers={"Range": asked})

    assert (response.status_code, response.json()["code"]) == (status, code)
    if status == 416:
        assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize("status", [Status.CANCELLING, Status.CANCELLED, Status.FAILED, Status.SUCCEEDED])
def test_weights_stay_in_every_state(service: Service, tmp_path: Path, status: Status) -> None:
    job_id = service.job()
    held = service.bring(job_id, Status.RUNNING)
    service.publish(held, 1, CONTENT, tmp_path)
    if status in (Status.CANCELLING, Status.CANCELLED):
        service.client.post(f"/v1/jobs/{job_id}/cancel")
    if status != Status.CANCELLING:
        service.end(held, status)

    assert service.client.get(f"/v1/jobs/{job_id}").json()["status"] == status
    assert service.client.get(f"/v1/jobs/{job_id}/weights").content == CONTENT


def test_a_file_that_was_removed_is_gone(service: Service, published: str) -> None:
    [key] = [file.key for file in service.storage.stored() if file.key.startswith("jobs/")]
    service.storage.delete(key)

    response = service.client.get(published)

    assert (response.status_code, response.json()["code"]) == (410, "gone")


def test_a_job_without_a_name_lends_its_id(service: Service, tmp_path: Path) -> None:
    job_id = service.job()
    service.publish(service.bring(job_id, Status.RUNNING), 1, CONTENT, tmp_path)

    disposition = service.client.head(f"/v1/jobs/{job_id}/weights").headers["Content-Disposition"]

    assert re.fullmatch(rf'attachment; filename="{job_id}-student\.pt"', disposition)
