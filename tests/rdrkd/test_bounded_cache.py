"""A bounded cache: the least recently used entry is evicted, never one in use; leftovers of killed processes go."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rdrkd import bounded_cache
from rdrkd.bounded_cache import Bound
from rdrkd.data.archive import unpack
from rdrkd.errors import DiskFullError
from tests.api.uploads.ledger.sending import small_disk
from tests.rdrkd.data.test_archive import make_zip

MIB = 2**20
USE = "import sys, time; from pathlib import Path; from rdrkd import bounded_cache; "
HOLD = USE + "kept = bounded_cache.hold(Path(sys.argv[1]), sys.argv[2]); print('held', flush=True); time.sleep(600)"
FILL = (
    USE + "kept = bounded_cache.hold(Path(sys.argv[1]), sys.argv[2])\n"
    "with bounded_cache.making(Path(sys.argv[1]) / sys.argv[2]) as folder:\n"
    "    (folder / 'x').write_bytes(bytes(100)); print('held', flush=True); time.sleep(600)"
)
STRESS = """
import random, sys, time
from pathlib import Path
from rdrkd import bounded_cache
cache, end = Path(sys.argv[1]), time.monotonic() + 3
used = 0
while time.monotonic() < end:
    path = cache / f"entry-{random.randrange(3)}"
    kept = bounded_cache.hold(cache, path.name)
    if not path.exists():
        with bounded_cache.making(path) as folder:
            (folder / "x").write_bytes(bytes(5000))
            try:
                folder.rename(path)
            except OSError:
                assert path.is_dir()
    for _ in range(5):
        assert (path / "x").stat().st_size == 5000, "it was evicted while in use"
    kept.close()
    used += 1
    bounded_cache.shrink(cache, bounded_cache.Bound(most_bytes=8192))
assert used > 10, used
"""


@contextmanager
def process(program: str, cache: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", program, str(cache), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"held\n"
        try:
            yield running
        finally:
            running.kill()


def entry(cache: Path, name: str, size: int = 8192) -> Path:
    bounded_cache.hold(cache, name).close()
    (cache / name).mkdir()
    (cache / name / "x").write_bytes(os.urandom(size))
    time.sleep(0.01)  # the clock of file times is coarse
    return cache / name


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in bounded_cache.names(cache))


def test_the_least_recently_used_entries_are_evicted(tmp_path: Path) -> None:
    for name in "abcd":
        entry(tmp_path, name)
    bounded_cache.hold(tmp_path, "a").close()

    freed = bounded_cache.shrink(tmp_path, Bound(most_bytes=2 * 8192))

    assert names(tmp_path) == ["a", "d"]
    assert freed == 2 * 8192
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", ".d.lock", "a", "d"]


def test_an_entry_in_use_is_not_evicted_until_its_process_ends(tmp_path: Path) -> None:
    entry(tmp_path, "a")
    with process(HOLD, tmp_path, "a") as user:
        entry(tmp_path, "b")
        bounded_cache.shrink(tmp_path, Bound(most_bytes=0))
        assert names(tmp_path) == ["a"]
        assert not bounded_cache.evict(tmp_path / "a")
        user.send_signal(signal.SIGKILL)
        user.wait()
    bounded_cache.shrink(tmp_path, Bound(most_bytes=0))
    assert names(tmp_path) == []


def test_a_partial_entry_is_kept_until_its_process_ends(tmp_path: Path) -> None:
    with process(FILL, tmp_path, "a") as maker:
        bounded_cache.sweep(tmp_path)
        assert len(list(tmp_path.glob(".coming-*"))) == 1
        maker.send_signal(signal.SIGKILL)
        maker.wait()
    (tmp_path / ".going-x").mkdir()  # another was killed while it removed this
    bounded_cache.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_many_processes_use_and_evict_concurrently(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STRESS, str(tmp_path)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate(timeout=120)[1], process.returncode) for process in running] == [("", 0)] * 4


def test_without_a_bound_of_its_own_a_cache_leaves_as_much_free_as_it_takes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "cache", 10):
        for name in "abc":
            entry(tmp_path / "cache", name, 2 * MIB)
        bounded_cache.shrink(tmp_path / "cache", Bound())
        assert names(tmp_path / "cache") == ["b", "c"]


@pytest.mark.parametrize("in_use", [False, True])
def test_an_archive_makes_its_own_room_or_leaves_nothing(tmp_path: Path, in_use: bool) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", os.urandom(4 * MIB)), ("b.txt", os.urandom(MIB))])
    cache = tmp_path / "cache"
    with small_disk(cache, 10):
        Bound(least_free=MIB).write(cache)
        entry(cache, "old", 5 * MIB)
        kept = bounded_cache.hold(cache, "old") if in_use else None
        if kept is None:
            found = unpack(archive, cache)
            assert names(cache) == [found.folder.name]
            assert bounded_cache.shrink(cache, Bound(most_bytes=0)) == 0  # this process uses it
            return
        with pytest.raises(DiskFullError, match="to stay free"):
            unpack(archive, cache)
        assert names(cache) == ["old"]
        assert not list(cache.glob(".coming-*"))
