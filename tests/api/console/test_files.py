"""Files pass through the console with the reader's key, in both directions, and nothing else does."""

import base64
import hashlib
from pathlib import Path

import pytest

from api.tables.states import Status
from tests.api.conftest import ZIP, Service
from tests.api.console.conftest import Reader, reader_of


def test_a_reader_downloads_weights_and_parts_of_them(closed: Service, tmp_path: Path) -> None:
    service = closed
    service.client.headers.update(service.key(owner="alice"))
    job = service.submit(service.dataset())["id"]
    held = service.bring(job, Status.RUNNING)
    sha256 = service.publish(held, 1, b"0123456789", tmp_path)
    path = f"/through/v1/jobs/{job}/weights"
    assert service.client.get(path).status_code == 303
    reader_of(service, owner="alice", scope="read")
    whole = service.client.get(path)
    assert hashlib.sha256(whole.content).hexdigest() == sha256
    assert "attachment" in whole.headers["content-disposition"]
    part = service.client.get(path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")


def test_every_reader_gets_the_source(closed: Service) -> None:
    reader = reader_of(closed, owner="alice", scope="read")
    assert 'href="/through/v1/source"' in reader.get("/")
    assert closed.client.get("/through/v1/source", headers={"Authorization": ""}).status_code == 200


OTHERS = [
    "/v1/jobs",
    "/v1/api-keys",
    "/v1/jobs/../api-keys/weights",
    "/v1/jobs/x/artifacts/..",
    "/readyz",
    "/jobs",
    "//example.org/",
]


@pytest.mark.parametrize("path", OTHERS)
def test_nothing_else_passes(open_service: Service, path: str) -> None:
    assert open_service.client.get(f"/through{path}").status_code == 404


def test_an_upload_passes_piece_by_piece(service: Service) -> None:
    reader = Reader(service.client)
    name, content = ZIP
    words = {"kind": "dataset", "filename": name}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in words.items())
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content)), "Upload-Metadata": metadata}
    assert service.client.post("/through/v1/uploads", headers=headers).status_code == 403
    token = {"X-CSRF-Token": reader.csrf()}
    made = service.client.post("/through/v1/uploads", headers=headers | token)
    assert made.status_code == 201, made.text
    upload = "/through" + made.headers["location"]
    for start, end in ((0, 10), (10, len(content))):
        piece = {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": str(start),
            "Content-Type": "application/offset+octet-stream",
        }
        sent = service.client.patch(upload, content=content[start:end], headers=piece | token)
        assert sent.status_code == 200, sent.text
        assert sent.headers["upload-offset"] == str(end)
    assert service.client.get(sent.headers["upload-result"]).json()["filename"] == name


def test_what_is_written_needs_the_token_and_the_key(closed: Service) -> None:
    service = closed
    reader_of(service, owner="alice", scope="read")
    token = {"X-CSRF-Token": Reader(service.client).csrf()}
    assert service.client.patch("/through/v1/uploads/up_1", content=b"x").status_code == 403
    answer = service.client.post("/through/v1/uploads", headers=token)
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert service.client.delete("/through/v1/jobs/job_1", headers=token).status_code == 404
