"""Downloads that lead to the bucket: by an address that needs no key, and only where nothing of ours is lost."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from api.storage import open_storage
from api.tables.states import Status
from tests.api.conftest import Service, Start
from tests.api.uploads.datasets.previews import PICTURE, PIECES, with_preview
from tests.api.uploads.models.registered import register, settle
from tests.s3 import S3, SECRET

CONTENT = bytes(range(256)) * 8
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def service(s3: S3, start: Start) -> Iterator[Service]:
    with start(**s3.settings(s3_redirect_seconds=60)) as running:
        yield running


@pytest.fixture
def away() -> Iterator[httpx2.Client]:
    """Somebody without any key."""
    with httpx2.Client(trust_env=False) as client:
        yield client


def publish(service: Service, folder: Path, name: str = "student.pt") -> str:
    """Return the address of a running job's file."""
    job_id = service.job(name="n from l")
    service.publish(service.bring(job_id, Status.RUNNING), 1, CONTENT, folder, name)
    return f"/v1/jobs/{job_id}/artifacts/{name}"


def test_a_download_leads_to_the_bucket(service: Service, away: httpx2.Client, tmp_path: Path) -> None:
    answer = service.client.get(publish(service, tmp_path))

    assert (answer.status_code, answer.content) == (307, b"")
    assert answer.headers["ETag"] == f'"{SHA256}"'
    assert "no-store" in answer.headers["Cache-Control"]
    address = answer.headers["Location"]
    assert parse_qs(urlsplit(address).query)["X-Amz-Expires"] == ["60"]
    assert SECRET not in address
    whole, part = away.get(address), away.get(address, headers={"Range": "bytes=10-19"})
    assert whole.content == CONTENT
    assert whole.headers["Content-Disposition"] == 'attachment; filename="n-from-l-student.pt"'
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(CONTENT)}"


def test_a_server_that_checks_signatures_takes_the_address(
    strict_s3: S3, start: Start, away: httpx2.Client, tmp_path: Path
) -> None:
    with start(**strict_s3.settings()) as service:
        answer = away.get(service.client.get(publish(service, tmp_path)).headers["Location"])

    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_head_and_a_version_that_the_client_has_are_answered_here(service: Service, tmp_path: Path) -> None:
    address = publish(service, tmp_path)

    head = service.client.head(address)
    known = service.client.get(address, headers={"If-None-Match": f'"{SHA256}"'})

    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(CONTENT)))
    assert head.headers["ETag"] == f'"{SHA256}"'
    assert known.status_code == 304


def test_what_a_browser_must_not_run_is_never_handed_out_by_the_bucket(service: Service, tmp_path: Path) -> None:
    answer = service.client.get(publish(service, tmp_path, "report.html"), params={"disposition": "inline"})

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.parametrize("name", ["curves.png", "panel.jpg", "report.svg"])
def test_what_a_page_shows_comes_from_its_own_origin(name: str, service: Service, tmp_path: Path) -> None:
    answer = service.client.get(publish(service, tmp_path, name), params={"disposition": "inline"})

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["Content-Disposition"].startswith("inline")


def test_without_keys_of_our_own_files_go_through_the_service(service: Service, tmp_path: Path) -> None:
    """A machine's role gives keys that this service does not know."""
    address = publish(service, tmp_path)
    object.__setattr__(service.storage.bucket, "access", None)

    answer = service.client.get(address, headers={"Range": "bytes=5-"})

    assert (answer.status_code, answer.content) == (206, CONTENT[5:])


def test_clients_are_led_to_where_they_can_reach_the_bucket(s3: S3, start: Start, tmp_path: Path) -> None:
    with start(**s3.settings(s3_download_endpoint="https://files.example.org")) as service:
        address = service.client.get(publish(service, tmp_path)).headers["Location"]

    assert address.startswith("https://files.example.org/bucket-")


def test_a_file_that_is_gone_is_said_to_be(service: Service, tmp_path: Path) -> None:
    address = publish(service, tmp_path)
    service.storage.delete("jobs")

    assert service.client.get(address).json()["code"] == "gone"


def test_a_bucket_that_is_away_is_told(s3: S3, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.storage.bucket.PATIENT", {"max_retries": 0})
    with start(**s3.settings()) as service:
        address = publish(service, tmp_path)
        away = service.app.state.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
        service.app.state.storage = open_storage(away)
        ready, download = service.client.get("/readyz"), service.client.get(address)

        assert (ready.status_code, ready.json()["status"], ready.json()["storage"]) == (200, "degraded", "down")
        assert (download.status_code, download.json()["code"]) == (503, "unavailable")
        assert "file store" in download.json()["detail"]
        files = {"file": ("data.zip", b"PK\x05\x06" + bytes(18))}
        assert service.client.post("/v1/datasets", files=files).json()["code"] == "unavailable"
        assert service.client.get("/v1/jobs").status_code == 200  # what is in rows goes on


def test_a_model_lies_in_the_bucket_too(service: Service, away: httpx2.Client, tmp_path: Path) -> None:
    job_id = service.job(name="n from l")
    service.publish(held := service.bring(job_id, Status.RUNNING), 1, CONTENT, tmp_path)
    service.end(held, Status.SUCCEEDED)
    model = register(service, job_id, name="n")["id"]
    settle(service, b"converted")
    weights = [service.client.get(f"/v1/models/{model}/weights", params={"format": f}) for f in ("pt", "safetensors")]

    assert [answer.status_code for answer in weights] == [307] * 2
    assert [away.get(answer.headers["Location"]).content for answer in weights] == [CONTENT, b"converted"]


def test_a_preview_comes_through_the_service(service: Service) -> None:
    """A page shows it."""
    preview = service.client.get(f"/v1/datasets/{with_preview(service)}/preview")

    assert (preview.status_code, preview.content) == (200, PICTURE)


def test_images_of_a_dataset_come_through_the_service(service: Service) -> None:
    """A page may show what this service sends, not what a bucket's address does."""
    dataset = with_preview(service)
    for number, piece in enumerate(PIECES):
        answer = service.client.get(f"/v1/datasets/{dataset}/images/{number}")
        assert (answer.status_code, answer.content) == (200, piece)
        assert answer.headers["Content-Length"] == str(len(piece))
