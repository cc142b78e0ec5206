"""Files to and from a service over a way that breaks: nothing is sent or fetched twice, and what arrives is right."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from api.storage.partial_uploads import Partial
from rdrkd.client import AsyncClient, Client, Damaged, Refused, Unreachable, UploadBroken
from tests.rdrkd.client.conftest import Breaking, Live

MIB = 2**20
Large = Callable[[str, int], Path]


def published(live: Live, folder: Path, content: bytes) -> str:
    """Return a running job whose weights are `content`."""
    held = live.bring(live.job(), "running")
    (folder / "worker").mkdir()
    live.publish(held, 1, content, folder / "worker")
    return held.id


@pytest.fixture
def job(live: Live, tmp_path: Path, large: Large) -> str:
    return published(live, tmp_path, large("weights", 6).read_bytes())


def test_an_upload_arrives(live: Live, service: Client, large: Large) -> None:
    path, seen = large("scenes.zip", 3), []

    dataset = service.upload_dataset(path, "mine", lambda done, total: seen.append((done, total)))

    assert (dataset.status, dataset.name, dataset.filename) == ("checking", "mine", "scenes.zip")
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert seen == [(n * MIB, 3 * MIB) for n in (1, 2, 3)]
    live.settle()
    assert service.wait_dataset(dataset.id, timeout=10).status == "ready"


def test_an_upload_goes_on_over_broken_connections(live: Live, breaking: Breaking, large: Large) -> None:
    path = large("broken.zip", 12)
    breaking.limit = 3 * MIB
    with Client(breaking.url) as service:
        dataset = service.upload_dataset(path)
    live.settle()

    assert breaking.cuts >= 3
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_an_upload_that_broke_off_goes_on_in_another_process(live: Live, breaking: Breaking, large: Large) -> None:
    path = large("later.pt", 4)
    breaking.limit = 40_000  # enough for answers, and for a little of the file, each time

    with Client(breaking.url) as service:
        service._http.headers["Connection"] = "close"
        address = service._http.post(
            "/v1/uploads",
            headers={
                "Upload-Length": str(4 * MIB), "Upload-Metadata": "kind bW9kZWw=,filename bGF0ZXIucHQ=",
            },
        ).headers["Location"]  # fmt: skip
        breaking.limit = 0
        with pytest.raises(UploadBroken, match="resume=") as broken:
            service.upload_model(path, resume=address)
    assert broken.value.address == address

    with Client(live.url) as service:
        model = service.upload_model(path, resume=address)
    live.settle()
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_upload_whose_service_died_after_its_last_byte_is_completed(live: Live, large: Large) -> None:
    path = large("whole.pt", 1)
    with Client(live.url) as service:
        announced = {"Upload-Length": str(MIB), "Upload-Metadata": "kind bW9kZWw=,filename d2hvbGUucHQ="}
        address = service._http.post("/v1/uploads", headers=announced).headers["Location"]
        Partial(live.storage, address.rpartition("/")[2]).path.write_bytes(path.read_bytes())

        model = service.upload_model(path, resume=address)
        again = service.upload_model(path, resume=address)

    live.settle()
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert again.id == model.id


def test_a_file_that_the_service_does_not_take(service: Client, large: Large) -> None:
    with pytest.raises(Refused, match=r"expected a dataset as a file named \*.zip") as refused:
        service.upload_dataset(large("scenes.rar", 1))

    assert (refused.value.code, refused.value.status) == ("invalid", 422)


def test_weights_arrive(service: Client, job: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    target = service.download_weights(job, tmp_path / "student.pt", progress=lambda *at: seen.append(at))

    assert target.read_bytes() == (tmp_path / "weights").read_bytes()
    assert seen[-1] == (6 * MIB, 6 * MIB)
    assert list(tmp_path.glob(".*")) == []  # nothing half-written


def test_a_download_goes_on_over_broken_connections(breaking: Breaking, job: str, tmp_path: Path) -> None:
    breaking.limit = 2 * MIB
    with Client(breaking.url) as service:
        service.download_weights(job, tmp_path / "student.pt")

    assert breaking.cuts >= 3
    assert (tmp_path / "student.pt").read_bytes() == (tmp_path / "weights").read_bytes()


def test_a_download_that_broke_off_goes_on_in_another_process(
    live: Live, breaking: Breaking, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rdrkd.client.transfers.TRIES", 1)
    breaking.limit = 2 * MIB
    with Client(breaking.url) as service, pytest.raises(Unreachable, match="broke off at byte"):
        service.download_weights(job, tmp_path / "student.pt")
    part = next(tmp_path.glob(".student.pt.*.part"))
    there = part.stat().st_size
    assert MIB <= there < 6 * MIB
    assert not (tmp_path / "student.pt").exists()

    seen: list[tuple[int, int]] = []
    with Client(live.url) as service:
        service.download_weights(job, tmp_path / "student.pt", progress=lambda *at: seen.append(at))

    assert seen[0][0] > there  # it went on where it had stopped
    assert (tmp_path / "student.pt").read_bytes() == (tmp_path / "weights").read_bytes()


def test_a_part_that_was_damaged_meanwhile_is_fetched_anew(service: Client, job: str, tmp_path: Path) -> None:
    sha256 = hashlib.sha256((tmp_path / "weights").read_bytes()).hexdigest()
    (tmp_path / f".student.pt.{sha256[:16]}.part").write_bytes(b"x" * MIB)

    service.download_weights(job, tmp_path / "student.pt")

    assert (tmp_path / "student.pt").read_bytes() == (tmp_path / "weights").read_bytes()


def test_a_file_that_the_service_has_lost_content_of(live: Live, service: Client, job: str, tmp_path: Path) -> None:
    stored = live.storage.path(f"jobs/{job}/attempt-1/epoch-1/student.pt")
    stored.write_bytes(bytes(stored.stat().st_size))

    with pytest.raises(Damaged, match="sha256"):
        service.download_weights(job, tmp_path / "student.pt")

    assert not (tmp_path / "student.pt").exists()
    assert list(tmp_path.glob(".*")) == []  # nothing half-written


def test_weights_that_are_not_there_yet(live: Live, service: Client, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        service.download_weights(live.job(), tmp_path / "student.pt")

    assert not (tmp_path / "student.pt").exists()


def test_the_async_client_does_the_same(live: Live, breaking: Breaking, job: str, tmp_path: Path, large: Large) -> None:
    path = large("async.zip", 8)
    breaking.limit = 3 * MIB

    async def both() -> str:
        async with AsyncClient(breaking.url) as service:
            dataset, _ = await asyncio.gather(
                service.upload_dataset(path), service.download_weights(job, tmp_path / "student.pt")
            )
            return dataset.sha256

    assert asyncio.run(both()) == hashlib.sha256(path.read_bytes()).hexdigest()
    live.settle()
    assert breaking.cuts >= 3
    assert (tmp_path / "student.pt").read_bytes() == (tmp_path / "weights").read_bytes()
