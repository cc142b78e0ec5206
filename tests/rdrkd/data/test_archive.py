import os
import re
import stat
import struct
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from rdrkd.data.archive import RECORD, unpack
from rdrkd.data.limits import Limits
from rdrkd.errors import DatasetError


def make_zip(path: Path, entries: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate names that a test wants
        for name, content in entries:
            opened.writestr(name, content, zipfile.ZIP_DEFLATED)
    return path


def is_content(path: Path) -> bool:
    return path.is_file() and path.name != RECORD


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


def refused(archive: Path, cache: Path, limits: Limits | None = None) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        unpack(archive, cache, limits)
    assert not cache.exists() or list(cache.iterdir()) == []
    return caught.value


def visible(cache: Path) -> list[str]:
    """Name what lies in a cache beside its locks."""
    return [path.name for path in cache.iterdir() if not path.name.endswith(".lock")]


def test_unpacks_what_is_needed_and_counts_the_rest(tmp_path: Path) -> None:
    entries = [("d/", b""), ("d/a.JPG", b"1"), ("d/a.txt", b"2"), ("d/run.sh", b"3"), ("__MACOSX/d/._a.JPG", b"4")]
    archive = make_zip(tmp_path / "a.zip", entries)
    found = unpack(archive, tmp_path / "cache")
    assert sorted(str(p.relative_to(found.folder)) for p in found.folder.rglob("*") if is_content(p)) == [
        "d/a.JPG",
        "d/a.txt",
    ]
    assert found.skipped == {".jpg": 1, ".sh": 1}
    assert visible(tmp_path / "cache") == [found.sha256]


def test_a_second_time_touches_nothing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", b"1")])
    first = unpack(archive, tmp_path / "cache")
    before = first.folder.stat().st_ino, (first.folder / "a.txt").stat().st_mtime_ns
    second = unpack(archive, tmp_path / "cache")
    assert second == first
    assert before == (first.folder.stat().st_ino, (first.folder / "a.txt").stat().st_mtime_ns)


def test_many_at_once_make_one_folder(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [(f"{i}.txt", os.urandom(2000)) for i in range(50)])
    found = []
    threads = [threading.Thread(target=lambda: found.append(unpack(archive, tmp_path / "cache"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({f.folder for f in found}) == 1
    assert visible(tmp_path / "cache") == [found[0].sha256]
    assert sum(map(is_content, found[0].folder.iterdir())) == 50


@pytest.mark.parametrize(
    "name",
    ["../a.txt", "d/../../a.txt", "/etc/a.txt", "d\\a.txt", "C:/a.txt", "c:a.txt", "d//a.txt", "./a.txt", "a\n.txt"],
)
def test_refuses_a_name_that_leads_out(tmp_path: Path, name: str) -> None:
    error = refused(make_zip(tmp_path / "a.zip", [("data.yaml", b"x"), (name, b"x")]), tmp_path / "cache")
    assert error.problems[0].where == ascii(name)
    assert not (tmp_path / "a.txt").exists()


def test_refuses_a_name_with_a_hidden_end(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("aXb.txt", b"x")])
    archive.write_bytes(archive.read_bytes().replace(b"aXb.txt", b"a\0b.txt"))
    assert "control characters" in refused(archive, tmp_path / "cache").problems[0].detail


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_refuses_what_is_no_regular_file(tmp_path: Path, kind: int) -> None:
    archive = make_zip(tmp_path / "a.zip", [(special("a.txt", kind), b"/etc/passwd")])
    assert "regular file" in refused(archive, tmp_path / "cache").problems[0].detail


@pytest.mark.parametrize("names", [("a.txt", "a.txt"), ("a.txt", "A.TXT"), ("a/", "A")])
def test_refuses_a_name_twice(tmp_path: Path, names: tuple[str, str]) -> None:
    archive = make_zip(tmp_path / "a.zip", [(name, b"x") for name in names])
    assert "each name once" in refused(archive, tmp_path / "cache").problems[0].detail


def test_refuses_an_encrypted_entry(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", b"x")])
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(content))
    assert "encryption" in refused(archive, tmp_path / "cache").problems[0].detail


def test_refuses_another_method(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("a.txt", b"x")
    assert "method" in refused(tmp_path / "a.zip", tmp_path / "cache").problems[0].detail


@pytest.mark.parametrize("name", ["inner.zip", "inner.tar.gz", "d/INNER.7z"])
def test_refuses_an_archive_within(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", [(name, b"x")])
    assert "archive within" in refused(archive, tmp_path / "cache").problems[0].detail


def test_refuses_a_bomb_by_its_ratio(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", bytes(64 << 20))])
    assert archive.stat().st_size < 100_000
    assert "times the packed size" in str(refused(archive, tmp_path / "cache"))


def test_refuses_many_small_bombs_together(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [(f"{i}.txt", bytes(1 << 20)) for i in range(12)])
    error = refused(archive, tmp_path / "cache")
    assert error.problems[0].where == "the archive"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(file_bytes=999), "999 bytes"),
        (Limits(total_bytes=1999), "1999 bytes"),
        (Limits(entries=1), "at most 1 archive entries"),
        (Limits(depth=2), "nested folders"),
        (Limits(path_bytes=8), "8 bytes"),
    ],
)
def test_refuses_beyond_the_limits(tmp_path: Path, limits: Limits, expected: str) -> None:
    content = os.urandom(1000)
    archive = make_zip(tmp_path / "a.zip", [("a.txt", content), ("x/y/z.txt", content)])
    assert expected in str(refused(archive, tmp_path / "cache", limits))
    assert unpack(archive, tmp_path / "cache", Limits(file_bytes=1000, total_bytes=2000, entries=2, depth=3))


def test_refuses_sizes_that_lie(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", b"a" * 5000)])
    archive.write_bytes(archive.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", 10)))
    assert "readable zip" in str(refused(archive, tmp_path / "cache"))


def test_refuses_entries_that_share_their_bytes(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", b"a" * 100), ("b.txt", b"b" * 100)])
    content = bytearray(archive.read_bytes())
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = struct.pack("<I", 4)  # its header now lies inside the first entry
    archive.write_bytes(bytes(content))
    assert "another entry" in refused(archive, tmp_path / "cache").problems[0].detail


@pytest.mark.parametrize("cut", [0, 3, 200, -30])
def test_refuses_a_damaged_zip(tmp_path: Path, cut: int) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", os.urandom(3000))])
    archive.write_bytes(archive.read_bytes()[:cut])
    refusal = str(refused(archive, tmp_path / "cache"))
    assert ("an empty file" if cut == 0 else "a zip archive without its end") in refusal


def test_refuses_damaged_content(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", os.urandom(3000)), ("b.txt", b"b")])
    content = bytearray(archive.read_bytes())
    content[1000] ^= 0xFF
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path / "cache")


def test_sweeps_what_a_killed_process_left(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name, age in ((".unpacking-old", 100_000), (".unpacking-busy", 10), ("kept", 100_000)):
        (cache / name / "d").mkdir(parents=True)
        os.utime(cache / name, (time.time() - age,) * 2)
    found = unpack(make_zip(tmp_path / "a.zip", [("a.txt", b"x")]), cache)
    assert sorted(visible(cache)) == sorted([".unpacking-busy", "kept", found.sha256])


def test_names_a_full_disk(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", os.urandom(100_000))])
    script = (
        "import resource, sys; from pathlib import Path; from rdrkd.data.archive import unpack;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000));"
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    done = subprocess.run([sys.executable, "-c", script, archive, tmp_path / "cache"], capture_output=True, text=True)
    assert "DiskFullError: expected room to write the unpacked archive" in done.stderr
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_not_accepted_leaves_nothing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", [("a.txt", b"x")])

    def never(folder: Path) -> None:
        assert (folder / "a.txt").read_bytes() == b"x"
        raise DatasetError("expected something else")

    with pytest.raises(DatasetError, match="something else"):
        unpack(archive, tmp_path / "cache", accept=never)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teacher.pt", "^teacher.pt is a weights file, not a dataset$"),
        ("d.zip", r"a model's checkpoint \(.pt\) under another name"),
    ],
)
def test_a_checkpoint_is_called_what_its_name_says(tmp_path: Path, name: str, expected: str) -> None:
    error = refused(make_zip(tmp_path / name, [("archive/data.pkl", b"")]), tmp_path / "cache")
    assert re.search(expected, str(error))
