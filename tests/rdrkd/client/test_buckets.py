"""Downloads that the service sends on to a bucket: without the key, verified, and gone on with."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rdrkd.client import AsyncClient, Client, Damaged
from tests.rdrkd.client.conftest import Breaking, Live, begin
from tests.s3 import S3

MIB = 2**20
Large = Callable[[str, int], Path]


@pytest.fixture
def way(s3: S3) -> Iterator[Breaking]:
    """The way to the bucket, as the clients go it; it sees each request."""
    host, port = s3.endpoint.removeprefix("http://").split(":")
    way = Breaking((host, int(port)))
    yield way
    way.close()


@pytest.fixture
def live(s3: S3, way: Breaking, tmp_path: Path, migrated: Path) -> Iterator[Live]:
    (tmp_path / "live").mkdir()
    shutil.copy(migrated, tmp_path / "live" / "rdrkd.db")
    with begin(tmp_path / "live", **s3.settings(s3_download_endpoint=way.url)) as running:
        yield running


@pytest.fixture
def job(live: Live, tmp_path: Path, large: Large) -> str:
    held = live.bring(live.job(), "running")
    (tmp_path / "worker").mkdir()
    live.publish(held, 1, large("weights", 6).read_bytes(), tmp_path / "worker")
    live.publish(held, 1, b'{"epoch": 1}\n', tmp_path / "worker", "metrics.jsonl")
    return held.id


def whole(tmp_path: Path) -> bool:
    return (tmp_path / "student.pt").read_bytes() == (tmp_path / "weights").read_bytes()


@pytest.mark.slow
def test_weights_arrive_and_the_key_stays_here(live: Live, way: Breaking, job: str, tmp_path: Path) -> None:
    key = live.key(owner="alice", scope="admin")["Authorization"].removeprefix("Bearer ")
    way.seen = bytearray()

    with Client(live.url, token=key) as service:
        service.download_weights(job, tmp_path / "student.pt")

    assert whole(tmp_path)
    assert b"X-Amz-Signature" in way.seen
    assert b"authorization" not in bytes(way.seen).lower()
    assert key.encode() not in way.seen


@pytest.mark.slow
def test_a_download_goes_on_over_broken_connections(live: Live, way: Breaking, job: str, tmp_path: Path) -> None:
    way.limit = 2 * MIB

    with Client(live.url) as service:
        service.download_weights(job, tmp_path / "student.pt")

    assert way.cuts >= 2
    assert whole(tmp_path)


def test_what_the_bucket_has_lost_content_of_is_told(live: Live, job: str, tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(6 * MIB))
    live.storage.put_file(tmp_path / "zeros", f"jobs/{job}/attempt-1/epoch-1/student.pt")
    live.storage.put_file(tmp_path / "zeros", f"jobs/{job}/attempt-1/epoch-1/metrics.jsonl")

    with Client(live.url) as service:
        with pytest.raises(Damaged, match="sha256"):
            service.download_weights(job, tmp_path / "student.pt")
        with pytest.raises(Damaged, match="sha256"):
            service.download_artifact(job, "metrics.jsonl", tmp_path / "metrics.jsonl")

    assert list(tmp_path.glob("*metrics*")) == []
    assert not (tmp_path / "student.pt").exists()


async def _fetch(url: str, job: str, folder: Path) -> None:
    async with AsyncClient(url) as service:
        await service.download_weights(job, folder / "student.pt")
        await service.download_artifact(job, "metrics.jsonl", folder / "metrics.jsonl")


@pytest.mark.slow
def test_the_async_client_does_the_same(live: Live, way: Breaking, job: str, tmp_path: Path) -> None:
    import asyncio

    way.limit = 2 * MIB
    asyncio.run(_fetch(live.url, job, tmp_path))

    assert whole(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'
