"""The file store: whole files under safe keys, or nothing."""

import hashlib
import io
import os
import threading
import time
from pathlib import Path

import pytest

from api.storage import Storage

CONTENT = b"content" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


def files(storage: Storage) -> list[Path]:
    return [path for path in storage.root.rglob("*") if path.is_file()]


def test_a_stream_is_named_by_its_content(storage: Storage) -> None:
    stored = storage.put(io.BytesIO(CONTENT), ".zip")

    assert (stored.key, stored.sha256, stored.size, stored.new) == (f"uploads/{SHA256}.zip", SHA256, len(CONTENT), True)
    assert storage.path(stored.key).read_bytes() == CONTENT
    with storage.open(stored.key) as file:
        assert file.read() == CONTENT
    assert not storage.put(io.BytesIO(CONTENT), ".zip").new
    assert len(files(storage)) == 1


def test_a_file_is_copied_to_its_key(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "student.pt"
    source.write_bytes(CONTENT)

    stored = storage.put_file(source, "jobs/job_1/attempt-1/epoch-3/student.pt")

    assert (stored.sha256, stored.size) == (SHA256, len(CONTENT))
    assert source.exists()
    assert storage.verify(stored.key, SHA256)


def test_verify_tells_torn_from_whole(storage: Storage) -> None:
    stored = storage.put(io.BytesIO(CONTENT), ".pt")
    os.truncate(storage.path(stored.key), 100)

    assert not storage.verify(stored.key, SHA256)
    assert not storage.verify("uploads/missing.pt", SHA256)
    storage.put(io.BytesIO(CONTENT), ".pt")
    assert storage.verify(stored.key, SHA256)


def test_delete_leaves_no_empty_folder(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    keys = [f"jobs/job_1/attempt-1/epoch-{epoch}/student.pt" for epoch in (1, 2)]
    for key in keys:
        storage.put_file(tmp_path / "source", key)
    storage.delete(keys[0])
    assert [path.name for path in (storage.root / "jobs/job_1/attempt-1").iterdir()] == ["epoch-2"]
    storage.delete(keys[1])
    assert list((storage.root / "jobs").iterdir()) == []


def test_delete_is_fine_twice(storage: Storage) -> None:
    stored = storage.put(io.BytesIO(CONTENT), ".pt")
    storage.delete(stored.key)
    storage.delete(stored.key)

    assert files(storage) == []


@pytest.mark.parametrize(
    "key", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".", "a/.hidden", "a\\b", "a/b/", "a\nb", "a\x00"]
)
def test_a_key_never_leaves_the_store(storage: Storage, tmp_path: Path, key: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")

    with pytest.raises(ValueError, match="key"):
        storage.path(key)
    with pytest.raises(ValueError, match="key"):
        storage.put_file(source, key)
    assert files(storage) == []


@pytest.mark.parametrize("suffix", ["zip", ".ZIP", "../x", ".tar.gz", ""])
def test_a_suffix_is_plain(storage: Storage, suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        storage.put(io.BytesIO(CONTENT), suffix)
    assert files(storage) == []


class Breaking(io.BytesIO):
    """A stream that breaks off after its content."""

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise ConnectionResetError
        return chunk


def test_a_stream_that_breaks_off_leaves_nothing(storage: Storage) -> None:
    with pytest.raises(ConnectionResetError):
        storage.put(Breaking(CONTENT), ".zip")

    assert files(storage) == []


def test_sweep_takes_only_what_was_abandoned(storage: Storage) -> None:
    kept = storage.put(io.BytesIO(CONTENT), ".zip")
    with storage.incoming() as coming:
        coming.write(b"fresh")
        abandoned = storage.root / "incoming" / "abandoned"
        abandoned.write_bytes(b"x")
        os.utime(abandoned, (0, time.time() - 90_000))

        assert storage.sweep() == 1
        assert not abandoned.exists()
        assert coming.keep(".zip").size == 5
    assert storage.path(kept.key).exists()


def test_the_same_content_at_once_is_one_whole_file(storage: Storage) -> None:
    threads = [threading.Thread(target=storage.put, args=(io.BytesIO(CONTENT), ".zip")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [path.read_bytes() for path in files(storage)] == [CONTENT]


def test_delete_of_a_folder_takes_all_in_it_and_nothing_beside(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"x")
    for key in ("jobs/job_1/attempt-1/a.pt", "jobs/job_1/attempt-2/a.pt", "jobs/job_2/attempt-1/a.pt"):
        storage.put_file(tmp_path / "a.pt", key)

    storage.delete("jobs/job_1")

    assert [path.name for path in (storage.root / "jobs").iterdir()] == ["job_2"]
