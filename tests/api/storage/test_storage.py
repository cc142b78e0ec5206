"""The file store, as a folder and as a bucket: whole files under safe keys, or nothing."""

import hashlib
import io
import os
import threading
import time
from pathlib import Path

import pytest

from api.settings import Settings
from api.storage import FolderStorage, Storage, open_storage

CONTENT = b"content" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = "jobs/job_1/attempt-1/epoch-3/student.pt"


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A store of each kind, the bucket on a real server."""
    bucket = request.getfixturevalue("s3").settings() if request.param == "bucket" else {}
    return open_storage(Settings(data_dir=tmp_path / "var", **bucket))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.pt"
    path.write_bytes(CONTENT)
    return path


def keys(storage: Storage) -> list[str]:
    return sorted(file.key for file in storage.stored())


def arriving(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "var").rglob("incoming/*") if path.is_file()]


def test_a_stream_is_named_by_its_content(storage: Storage, tmp_path: Path) -> None:
    stored = storage.put(io.BytesIO(CONTENT), ".zip")

    assert (stored.key, stored.sha256, stored.size, stored.new) == (f"uploads/{SHA256}.zip", SHA256, len(CONTENT), True)
    assert storage.copy_to(stored.key, SHA256, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert not storage.put(io.BytesIO(CONTENT), ".zip").new
    assert keys(storage) == [stored.key]
    assert arriving(tmp_path) == []


def test_a_file_is_copied_to_its_key(storage: Storage, source: Path) -> None:
    stored = storage.put_file(source, KEY)

    assert (stored.key, stored.sha256, stored.size) == (KEY, SHA256, len(CONTENT))
    assert source.exists()
    assert storage.exists(KEY)
    assert storage.verify(KEY, SHA256)


def test_a_file_that_is_written_again_replaces_the_one_before(storage: Storage, source: Path) -> None:
    storage.put_file(source, KEY)
    source.write_bytes(b"newer")

    stored = storage.put_file(source, KEY)

    assert storage.verify(KEY, hashlib.sha256(b"newer").hexdigest())
    assert stored.size == 5


def test_what_is_missing_or_of_another_content_is_not_handed_out(
    storage: Storage, source: Path, tmp_path: Path
) -> None:
    storage.put_file(source, KEY)
    other = hashlib.sha256(b"other").hexdigest()

    for key, sha256 in ((KEY, other), ("jobs/job_1/none.pt", SHA256)):
        assert not storage.verify(key, sha256)
        assert not storage.copy_to(key, sha256, tmp_path / "copy")
        assert storage.fetch(key, sha256, tmp_path / "inputs") is None
    assert not storage.exists("jobs/job_1/none.pt")
    assert not (tmp_path / "copy").exists()


def test_a_fetched_file_is_on_this_machine_and_keeps_its_suffix(storage: Storage, source: Path, tmp_path: Path) -> None:
    storage.put_file(source, KEY)

    for name in ("first", "second"):
        found = storage.fetch(KEY, SHA256, tmp_path / name)
        assert found is not None
        assert (found.suffix, found.read_bytes()) == (".pt", CONTENT)


def test_a_file_that_came_in_pieces_gets_its_key_and_stays(storage: Storage) -> None:
    path = storage.incoming_path("upl_1")
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)

    first, again = storage.adopt(path, SHA256, ".zip"), storage.adopt(path, SHA256, ".zip")

    assert (first.new, again.new) == (True, False)
    assert storage.verify(first.key, SHA256)
    assert path.exists()


def test_delete_takes_one_file_and_is_fine_twice(storage: Storage, source: Path) -> None:
    storage.put_file(source, KEY)
    storage.put_file(source, KEY + "2")
    storage.delete(KEY)
    storage.delete(KEY)

    assert keys(storage) == [KEY + "2"]


def test_delete_of_a_folder_takes_all_in_it_and_nothing_beside(storage: Storage, source: Path) -> None:
    for key in ("jobs/job_1/attempt-1/a.pt", "jobs/job_1/attempt-2/a.pt", "jobs/job_11/attempt-1/a.pt"):
        storage.put_file(source, key)

    storage.delete("jobs/job_1")

    assert keys(storage) == ["jobs/job_11/attempt-1/a.pt"]


@pytest.mark.parametrize(
    "key", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".", "a/.hidden", "a\\b", "a/b/", "a\nb", "a\x00"]
)
def test_a_key_never_leaves_the_store(storage: Storage, source: Path, key: str) -> None:
    for use in (storage.local, storage.exists, storage.delete, lambda key: storage.put_file(source, key)):
        with pytest.raises(ValueError, match="key"):
            use(key)
    assert keys(storage) == []


@pytest.mark.parametrize("suffix", ["zip", ".ZIP", "../x", ".tar.gz", ""])
def test_a_suffix_is_plain(storage: Storage, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="suffix"):
        storage.put(io.BytesIO(CONTENT), suffix)
    assert keys(storage) == []
    assert arriving(tmp_path) == []


class Breaking(io.BytesIO):
    """A stream that breaks off after its content."""

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise ConnectionResetError
        return chunk


def test_a_stream_that_breaks_off_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        storage.put(Breaking(CONTENT), ".zip")

    assert keys(storage) == []
    assert arriving(tmp_path) == []


@pytest.mark.slow
def test_sweep_takes_only_what_was_abandoned(storage: Storage) -> None:
    kept = storage.put(io.BytesIO(CONTENT), ".zip")
    with storage.incoming() as coming:
        coming.write(b"fresh")
        abandoned = storage.incoming_path("abandoned")
        abandoned.write_bytes(b"x")
        os.utime(abandoned, (0, time.time() - 90_000))

        assert storage.sweep() == 1
        assert not abandoned.exists()
        assert coming.keep(".zip").size == 5
    assert storage.exists(kept.key)


def test_the_same_content_at_once_is_one_whole_file(storage: Storage) -> None:
    threads = [threading.Thread(target=storage.put, args=(io.BytesIO(CONTENT), ".zip")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert keys(storage) == [f"uploads/{SHA256}.zip"]
    assert storage.verify(f"uploads/{SHA256}.zip", SHA256)


def test_a_fresh_file_is_young(storage: Storage, source: Path) -> None:
    storage.put_file(source, KEY)

    assert [-5 < file.age_seconds < 60 for file in storage.stored()] == [True]


def test_a_store_that_can_be_used_says_so(storage: Storage) -> None:
    storage.check()

    assert storage.free() > 0


def test_a_folder_heals_what_was_torn(tmp_path: Path) -> None:
    folder = FolderStorage(tmp_path / "storage")
    stored = folder.put(io.BytesIO(CONTENT), ".pt")
    os.truncate(folder.path(stored.key), 100)

    assert not folder.verify(stored.key, SHA256)
    folder.put(io.BytesIO(CONTENT), ".pt")
    assert folder.verify(stored.key, SHA256)


def test_a_folder_keeps_no_empty_folder(tmp_path: Path, source: Path) -> None:
    folder = FolderStorage(tmp_path / "storage")
    named = [f"jobs/job_1/attempt-1/epoch-{epoch}/student.pt" for epoch in (1, 2)]
    for key in named:
        folder.put_file(source, key)
    folder.delete(named[0])
    assert [path.name for path in (folder.root / "jobs/job_1/attempt-1").iterdir()] == ["epoch-2"]
    folder.delete(named[1])
    assert list((folder.root / "jobs").iterdir()) == []
