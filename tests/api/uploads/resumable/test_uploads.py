"""Uploads in pieces: what has come stays, whatever breaks, and becomes a dataset or model once, with its last byte."""

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from api.reaper import Reaper
from api.settings import Settings
from api.storage.partial_uploads import Partial
from api.tables.resumable import ResumableUpload
from tests.api.conftest import MAX_BYTES, Service, Start, full_disk
from tests.api.uploads.resumable.test_announcement import metadata

CONTENT = bytes(range(256)) * 40
TYPE = "application/offset+octet-stream"


def announce(service: Service, length: int = len(CONTENT), **fields: str) -> Response:
    fields = {"kind": "dataset", "filename": "a.zip", **fields}
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": metadata(**fields)}
    return service.client.post("/v1/uploads", headers=headers)


def begin(service: Service, **fields: str) -> str:
    return announce(service, **fields).raise_for_status().headers["Location"]


def send(service: Service, address: str, content: bytes, offset: int, **headers: str) -> Response:
    sent = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(offset), "Content-Type": TYPE} | headers
    return service.client.patch(address, content=content, headers=sent)


def partial(service: Service, address: str) -> Partial:
    return Partial(service.storage, address.rpartition("/")[2])


@pytest.mark.parametrize(("kind", "filename"), [("dataset", "hit uav.zip"), ("model", "l.safetensors")])
def test_pieces_become_what_was_announced(each_service: Service, kind: str, filename: str) -> None:
    announced = announce(each_service, kind=kind, filename=filename, name="mine")
    address = announced.headers["Location"]

    first = send(each_service, address, CONTENT[:1000], 0)
    head = each_service.client.head(address)
    last = send(each_service, address, CONTENT[1000:], 1000)

    assert (announced.status_code, announced.headers["Upload-Offset"]) == (201, "0")
    assert "Upload-Expires" in announced.headers
    assert (first.status_code, first.json()["offset"], first.json()["links"]["result"]) == (200, 1000, None)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("1000", str(len(CONTENT)))
    assert head.headers["Cache-Control"] == "no-store"
    made = each_service.client.get(last.headers["Upload-Result"]).json()
    assert (made["object"], made["status"], made["filename"], made["name"]) == (kind, "checking", filename, "mine")
    assert (made["size"], made["sha256"]) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert each_service.files() == [f"uploads/{made['sha256']}.{filename.rpartition('.')[2]}"]
    assert each_service.client.get(address).json()["links"]["result"] == last.headers["Upload-Result"]


def test_a_worker_checks_it_as_any_other(service: Service) -> None:
    result = send(service, begin(service), CONTENT, 0).headers["Upload-Result"]

    service.settle()

    assert service.client.get(result).json()["status"] == "ready"


def test_a_piece_from_elsewhere_is_refused_and_told_where(service: Service) -> None:
    address = begin(service)
    send(service, address, CONTENT[:500], 0)

    for offset in (0, 400, 501):
        refused = send(service, address, CONTENT[offset:], offset)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_offset")
        assert refused.headers["Upload-Offset"] == "500"
    assert send(service, address, CONTENT[500:], 500).json()["links"]["result"]


def test_more_than_was_announced_is_refused(service: Service) -> None:
    address = begin(service)

    def chunks() -> Any:
        yield CONTENT
        yield b"more"

    assert send(service, address, CONTENT + b"more", 0).json()["code"] == "too_large"
    assert partial(service, address).size() == 0
    assert send(service, address, chunks(), 0).json()["code"] == "too_large"  # type: ignore[arg-type]
    assert service.client.get("/v1/datasets").json()["data"] == []


def test_a_damaged_file_is_refused_and_forgotten(service: Service) -> None:
    address = begin(service, sha256="0" * 64)

    refused = send(service, address, CONTENT, 0)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert hashlib.sha256(CONTENT).hexdigest() in refused.json()["detail"]
    assert service.client.head(address).status_code == 410
    assert service.files() == []


def test_the_right_hash_is_taken(service: Service) -> None:
    address = begin(service, sha256=hashlib.sha256(CONTENT).hexdigest())

    assert send(service, address, CONTENT, 0).status_code == 200


def died_at_the_end(service: Service, content: bytes = CONTENT, age: float = 0, **fields: str) -> str:
    """Return an upload as a process leaves it that is killed between its last byte and its commit, so long ago."""
    address = begin(service, **fields)
    with partial(service, address).appending() as file:
        file.write(content)
    last = time.time() - age
    os.utime(partial(service, address).path, (last, last))
    return address


def test_an_empty_piece_completes_what_a_crash_left_at_its_end(each_service: Service) -> None:
    address = died_at_the_end(each_service)

    head = each_service.client.head(address)
    last = send(each_service, address, b"", int(head.headers["Upload-Offset"]))

    assert head.headers["Upload-Offset"] == str(len(CONTENT))
    assert "Upload-Result" not in head.headers  # a HEAD completes nothing
    assert each_service.client.get(last.headers["Upload-Result"]).json()["size"] == len(CONTENT)
    assert each_service.client.head(address).headers["Upload-Result"] == last.headers["Upload-Result"]
    assert send(each_service, address, b"", len(CONTENT)).headers["Upload-Result"] == last.headers["Upload-Result"]
    assert len(each_service.client.get("/v1/datasets").json()["data"]) == 1


def test_the_reaper_completes_what_a_crash_left_at_its_end(each_service: Service) -> None:
    key = each_service.key("alice")
    each_service.client.headers.update(key)
    left = died_at_the_end(each_service, age=3600)
    damaged = died_at_the_end(each_service, age=3600, sha256="0" * 64)
    fresh, short = died_at_the_end(each_service), died_at_the_end(each_service, CONTENT[:-1], age=3600)
    busy = died_at_the_end(each_service, age=3600)
    reaper = Reaper(each_service.app.state.settings)

    with partial(each_service, busy).appending():
        reaper.complete()
        reaper.complete()
    reaper.database.engine.dispose()

    made = each_service.client.get(each_service.client.head(left).headers["Upload-Result"]).json()
    assert (made["status"], made["sha256"]) == ("checking", hashlib.sha256(CONTENT).hexdigest())
    assert [each["id"] for each in each_service.client.get("/v1/datasets").json()["data"]] == [made["id"]]
    assert each_service.client.head(damaged).status_code == 410
    for address in (fresh, short, busy):
        assert "Upload-Result" not in each_service.client.head(address).headers


@pytest.mark.slow
def test_requests_that_all_find_the_last_byte_make_one_dataset(each_service: Service) -> None:
    address = died_at_the_end(each_service)
    answers: list[Response] = []

    def retry() -> None:
        while (answer := send(each_service, address, b"", len(CONTENT))).status_code == 409:
            time.sleep(0.01)
        answers.append(answer)

    threads = [threading.Thread(target=retry) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.json()["links"]["result"] for answer in answers} == {answers[0].json()["links"]["result"]}
    assert len(answers) == 6
    assert len(each_service.client.get("/v1/datasets").json()["data"]) == 1


def test_one_request_at_a_time_sends(service: Service) -> None:
    address = begin(service)

    with partial(service, address).appending():
        refused = send(service, address, CONTENT, 0)

    assert (refused.status_code, refused.json()["code"]) == (409, "upload_busy")
    assert send(service, address, CONTENT, 0).status_code == 200


def test_a_full_disk_keeps_what_came_before(service: Service) -> None:
    content = CONTENT * 300  # beyond the limit by more than the database, which is this process's, too
    address = announce(service, len(content)).headers["Location"]
    send(service, address, content[:1000], 0)

    with full_disk(2**20):
        refused = send(service, address, content[1000:], 1000)

    assert (refused.status_code, refused.json()["code"]) == (503, "storage_full")
    there = int(service.client.head(address).headers["Upload-Offset"])
    assert 1000 <= there <= 2**20
    assert send(service, address, content[there:], there).json()["links"]["result"]
    assert service.files() == [f"uploads/{hashlib.sha256(content).hexdigest()}.zip"]


def test_giving_up_removes_what_has_come(service: Service) -> None:
    address = begin(service)
    send(service, address, CONTENT[:1000], 0)

    assert service.client.delete(address).status_code == 204

    assert service.files() == []
    assert service.client.head(address).status_code == 404
    assert send(service, address, CONTENT, 0).status_code == 404


def test_what_a_complete_one_became_stays(service: Service) -> None:
    address = begin(service)
    result = send(service, address, CONTENT, 0).headers["Upload-Result"]

    assert service.client.delete(address).status_code == 204

    assert service.client.get(result).json()["size"] == len(CONTENT)


def test_an_abandoned_one_goes_with_the_sweep(each_service: Service) -> None:
    abandoned, going_on = begin(each_service), begin(each_service)
    os.utime(partial(each_service, abandoned).path, (0, 0))
    settings: Settings = each_service.app.state.settings
    reaper = Reaper(settings)

    reaper.sweep()

    assert each_service.client.head(abandoned).status_code == 410
    assert send(each_service, abandoned, CONTENT, 0).json()["code"] == "gone"
    assert send(each_service, going_on, CONTENT, 0).status_code == 200
    with each_service.database.transaction() as session:
        for row in session.query(ResumableUpload):
            row.created_at = row.created_at.replace(year=2020)
    reaper.sweep()
    assert each_service.client.head(abandoned).status_code == 404
    assert each_service.client.head(going_on).status_code == 404
    reaper.database.engine.dispose()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload-Length": ""}, 400, "bad_request"),
        ({"Upload-Length": "-1"}, 400, "bad_request"),
        ({"Upload-Length": "1e3"}, 400, "bad_request"),
        ({"Upload-Length": "9" * 30}, 400, "bad_request"),
        ({"Upload-Length": "0"}, 422, "invalid"),
        ({"Upload-Length": str(MAX_BYTES + 1)}, 413, "too_large"),
        ({"Upload-Metadata": "kind"}, 422, "invalid"),
        ({"Upload-Metadata": ","}, 400, "bad_request"),
        ({"Tus-Resumable": "2.0.0"}, 412, "unknown_protocol"),
    ],
)
def test_a_bad_announcement_leaves_nothing(steady: Service, headers: dict[str, str], status: int, code: str) -> None:
    good = {"Upload-Length": "10", "Upload-Metadata": metadata(kind="dataset", filename="a.zip")}

    refused = steady.client.post("/v1/uploads", headers=good | headers)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert steady.files() == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload-Offset": ""}, 400, "bad_request"),
        ({"Upload-Offset": "x"}, 400, "bad_request"),
        ({"Content-Type": "application/zip"}, 415, "unsupported_media_type"),
        ({"Tus-Resumable": "0.2"}, 412, "unknown_protocol"),
    ],
)
def test_a_bad_piece_changes_nothing(service: Service, headers: dict[str, str], status: int, code: str) -> None:
    address = begin(service)

    refused = send(service, address, CONTENT, 0, **headers)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert service.client.head(address).headers["Upload-Offset"] == "0"


def test_the_protocol_is_told(steady: Service) -> None:
    answer = steady.client.options("/v1/uploads")

    assert (answer.status_code, answer.headers["Tus-Version"]) == (204, "1.0.0")
    assert answer.headers["Tus-Extension"] == "creation,expiration,termination"


def test_a_body_beyond_the_limit_of_others_is_taken(start: Start) -> None:
    content = bytes(3 * 2**20)
    with start() as service:
        address = announce(service, len(content)).headers["Location"]

        assert send(service, address, content, 0).json()["offset"] == len(content)


def test_the_upload_goes_on_after_time(service: Service, tmp_path: Path) -> None:
    """The expiry counts from the last byte."""
    address = begin(service)
    before = service.client.head(address).headers["Upload-Expires"]
    file = partial(service, address).path
    os.utime(file, (time.time() - 3600,) * 2)

    earlier = service.client.head(address).headers["Upload-Expires"]
    send(service, address, CONTENT[:10], 0)

    assert earlier != before
    assert service.client.head(address).headers["Upload-Expires"] != earlier
