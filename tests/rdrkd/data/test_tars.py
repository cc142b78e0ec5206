"""A tar is refused for whatever a zip is refused for."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from rdrkd.data.archive import RECORD, unpack
from rdrkd.data.limits import Limits
from rdrkd.errors import DatasetError

Entry = tuple[str | tarfile.TarInfo, bytes]


def make_tar(path: Path, entries: Iterable[Entry]) -> Path:
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode) as opened:  # type: ignore[call-overload]
        for name, content in entries:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(archive: Path, cache: Path, limits: Limits | None = None) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        unpack(archive, cache, limits)
    assert not cache.exists() or list(cache.iterdir()) == []
    return caught.value


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_unpacks_what_is_needed_and_counts_the_rest(tmp_path: Path, name: str) -> None:
    entries: list[Entry] = [(special(".", tarfile.DIRTYPE), b""), (special("./d", tarfile.DIRTYPE), b"")]
    entries += [("./d/a.JPG", b"1"), ("d/a.txt", b"2" * 5000), ("d/run.sh", b"3"), ("d/._a.JPG", b"4")]
    found = unpack(make_tar(tmp_path / name, entries), tmp_path / "cache")
    files = {p.relative_to(found.folder).as_posix(): p.read_bytes() for p in found.folder.rglob("*") if p.is_file()}
    files.pop(RECORD)
    assert files == {"d/a.JPG": b"1", "d/a.txt": b"2" * 5000}
    assert found.skipped == {".jpg": 1, ".sh": 1}
    assert unpack(tmp_path / name, tmp_path / "cache") == found


@pytest.mark.parametrize(
    "name", ["../a.txt", "d/../../a.txt", "/etc/a.txt", "d\\a.txt", "C:/a.txt", "d//a.txt", "././a.txt"]
)
def test_refuses_a_name_that_leads_out(tmp_path: Path, name: str) -> None:
    error = refused(make_tar(tmp_path / "a.tar", [("data.yaml", b"x"), (name, b"x")]), tmp_path / "cache")
    assert error.problems[0].where == ascii(name)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_refuses_what_is_no_regular_file(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", [("data.yaml", b"x"), (special("a.txt", kind, "data.yaml"), b"")])
    assert "regular file" in refused(archive, tmp_path / "cache").problems[0].detail


def test_a_link_leads_no_later_entry_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    entries: list[Entry] = [(special("d", tarfile.SYMTYPE, str(out)), b""), ("d/a.txt", b"x")]
    refused(make_tar(tmp_path / "a.tar", entries), tmp_path / "cache")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("names", [("a.txt", "a.txt"), ("a.txt", "A.TXT"), ("a.txt", "./a.txt")])
def test_refuses_a_name_twice(tmp_path: Path, names: tuple[str, str]) -> None:
    error = refused(make_tar(tmp_path / "a.tar", [(name, b"x") for name in names]), tmp_path / "cache")
    assert "each name once" in error.problems[0].detail


def test_refuses_a_file_that_is_a_folder_too(tmp_path: Path) -> None:
    refused(make_tar(tmp_path / "a.tar", [("a.txt", b"x"), ("a.txt/b.txt", b"x")]), tmp_path / "cache")


def test_refuses_an_archive_within(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", [("d/inner.zip", b"x")])
    assert "archive within" in refused(archive, tmp_path / "cache").problems[0].detail


def test_refuses_a_name_that_is_no_text(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", [("a\udcff.txt", b"x")])
    assert "UTF-8" in refused(archive, tmp_path / "cache").problems[0].detail


@pytest.mark.parametrize("name", ["a.txt", "a.bin"])  # written, and left out
def test_refuses_a_bomb_by_its_ratio(tmp_path: Path, name: str) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", [(name, bytes(64 << 20))])
    assert archive.stat().st_size < 100_000
    assert "times the packed size" in str(refused(archive, tmp_path / "cache"))


def test_refuses_a_bomb_in_a_header(tmp_path: Path) -> None:
    """A header of GNU tar for long names, which is read into memory before anybody sees it."""
    info = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = 64 << 20
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20) + bytes(10240))
    assert "times the packed size" in str(refused(tmp_path / "a.tar.gz", tmp_path / "cache"))


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
    archive = make_tar(tmp_path / "a.tar", [("a.txt", content), ("x/y/z.txt", content)])
    assert expected in str(refused(archive, tmp_path / "cache", limits))
    assert unpack(archive, tmp_path / "cache", Limits(file_bytes=1000, total_bytes=20_480, entries=2, depth=3))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
@pytest.mark.parametrize("cut", [0, 3, 700, 1024, 3000, -9500])
def test_refuses_a_damaged_tar(tmp_path: Path, name: str, cut: int) -> None:
    archive = make_tar(tmp_path / name, [("a.txt", os.urandom(3000)), ("b.txt", os.urandom(100))])
    content = archive.read_bytes()[:cut]
    archive.write_bytes(content)
    refusal = str(refused(archive, tmp_path / "cache"))
    assert ("tar archive" if content else "an empty file") in refusal


def test_refuses_one_that_is_cut_between_two_entries(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", [("a.txt", os.urandom(512)), ("b.txt", os.urandom(512))])
    archive.write_bytes(archive.read_bytes()[:1024])
    assert "end mark" in str(refused(archive, tmp_path / "cache"))


def test_refuses_two_in_one(tmp_path: Path) -> None:
    parts = [make_tar(tmp_path / f"{name}.tar", [(f"{name}.txt", b"x")]).read_bytes() for name in "ab"]
    (tmp_path / "c.tar").write_bytes(b"".join(parts))
    assert "end mark" in str(refused(tmp_path / "c.tar", tmp_path / "cache"))


def test_refuses_damaged_content(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tgz", [("a.txt", os.urandom(3000)), ("b.txt", b"b")])
    content = bytearray(archive.read_bytes())
    content[1000] ^= 0xFF
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path / "cache")
