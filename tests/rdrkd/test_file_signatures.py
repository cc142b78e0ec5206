"""Files whose content is not what their name says are refused as what they are, wherever a dataset holds them."""

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rdrkd.data.reading import Reading
from rdrkd.run.inspection import inspect
from rdrkd.ultralytics_adapter import DetectionModel
from tests.rdrkd.data.crafted import make_dataset, zip_up

_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 6534387\n".encode()
CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "got an empty file; export or download it again"),
    "pointer": (_POINTER, "got a Git LFS pointer to a file of 6534387 bytes, not the file itself; run `git lfs pull`"),
    "pointer after a byte order mark": (b"\xef\xbb\xbf" + _POINTER, "got a Git LFS pointer"),
    "sign-in page": (b"\n<!DOCTYPE html><html><title>Sign in</title></html>", "got a web page saved under this name"),
}
PACKED: dict[str, tuple[bytes, str]] = {
    "7-Zip": (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(600), "got 7-Zip data; unpack it"),
    "RAR": (b"Rar!\x1a\x07\x01\x00" + bytes(600), "got RAR data"),
    "bzip2": (b"BZh91AY&SY" + bytes(600), "got bzip2 data"),
    "xz": (b"\xfd7zXZ\x00" + bytes(600), "got xz data"),
    "Zstandard": (b"\x28\xb5\x2f\xfd" + bytes(600), "got Zstandard data"),
}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tgz"])
@pytest.mark.parametrize("content", [*CONTENTS, *PACKED])
def test_an_upload_that_is_no_archive_is_named(tmp_path: Path, content: str, suffix: str, lenient: bool) -> None:
    written, words = (CONTENTS | PACKED)[content]
    upload = tmp_path / f"flight 7.{suffix}"
    upload.write_bytes(written)
    report = inspect(upload, tmp_path / "cache", Reading(lenient))
    (problem,) = report["problems"]
    assert problem["where"] == upload.name
    assert problem["detail"].startswith("expected an archive (.zip, .tar, .tar.gz, .tgz), got ")
    assert words in problem["detail"]


def _tar(folder: Path, archive: Path, mode: str) -> None:
    with tarfile.open(archive, mode) as opened:  # type: ignore[call-overload]
        opened.add(folder, ".")


@pytest.mark.parametrize("suffix", ["zip", "tar", "tgz"])
@pytest.mark.parametrize("kind", ["zip", "tar", "gzipped tar"])
def test_an_archive_is_read_by_its_content(tmp_path: Path, kind: str, suffix: str) -> None:
    root, upload = make_dataset(tmp_path / "d"), tmp_path / f"a.{suffix}"
    match kind:
        case "zip":
            zip_up(root, upload)
        case "tar":
            _tar(root, upload, "w")
        case _:
            _tar(root, upload, "w:gz")
    report = inspect(upload, tmp_path / "cache")
    assert report["ok"], report["problems"]


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_a_zip_without_its_end_is_named(tmp_path: Path, suffix: str) -> None:
    whole = zip_up(make_dataset(tmp_path / "d"), tmp_path / "whole.zip").read_bytes()
    upload = tmp_path / f"a.{suffix}"
    upload.write_bytes(whole[:-30])
    (problem,) = inspect(upload, tmp_path / "cache")["problems"]
    assert problem["detail"].endswith("got the beginning of a zip archive without its end; copy or download it again")


def _as_yolo(root: Path) -> str:
    return "images/train/a.png"


def _as_coco(root: Path) -> str:
    shutil.rmtree(root / "labels")
    (root / "data.yaml").unlink()
    return "annotations/instances_train.json"


def _as_unknown(root: Path) -> str:
    return "data.yaml"


@pytest.mark.parametrize("place", [_as_yolo, _as_coco, _as_unknown])
@pytest.mark.parametrize("content", [name for name in CONTENTS if name != "empty"])
def test_a_file_in_a_dataset_is_named(tmp_path: Path, place: Callable[[Path], str], content: str) -> None:
    root = make_dataset(tmp_path / "d")
    written, words = CONTENTS[content]
    file = root / place(root)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(written)
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    told = [f"{problem['where']}: {problem['detail']}" for problem in report["problems"]]
    assert any(file.name in one and words in one for one in told), told


def test_a_polyglot_is_unpacked_as_a_zip_or_refused(tmp_path: Path) -> None:
    """A zip may follow other bytes, as in a self-extracting one; the bytes before it do not choose its reader."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as opened:
        for file in sorted(make_dataset(tmp_path / "d").rglob("*.*")):
            opened.write(file, file.relative_to(tmp_path / "d"))
    upload = tmp_path / "a.zip"
    upload.write_bytes(b"#!/bin/sh\nexec unzip\n" + inner.getvalue())
    assert inspect(upload, tmp_path / "cache")["ok"]


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a TIFF of 64-bit floats": (lambda p: _tiff(p, np.float64, 1), "got a TIFF that Pillow cannot read"),
    "a TIFF of three floating-point channels": (
        lambda p: _tiff(p, np.float32, 3),
        "got a TIFF that Pillow cannot read",
    ),
    "a GIF": (lambda p: Image.new("RGB", (32, 24)).save(p, format="GIF"), "got a GIF; convert it"),
    "JPEG 2000": (lambda p: Image.new("RGB", (32, 24)).save(p, format="JPEG2000"), "got a JPEG 2000 image; convert it"),
    "AVIF": (lambda p: Image.new("RGB", (32, 24)).save(p, format="AVIF"), "got an AVIF image; convert it"),
    "an array": (lambda p: p.write_bytes(_array()), "got a NumPy array; convert it"),
}


def _tiff(path: Path, dtype: type, channels: int) -> None:
    values = np.arange(32 * 24 * channels, dtype=dtype).reshape(24, 32, channels)
    path.write_bytes(cv2.imencode(".tif", values)[1].tobytes())


def _array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((24, 32, 3), np.uint8))
    return stream.getvalue()


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_image_of_another_kind_is_named(tmp_path: Path, kind: str, suffix: str, lenient: bool) -> None:
    assert DetectionModel, "Ultralytics is imported, which changes how Pillow reports what it cannot read"
    root = make_dataset(tmp_path / "d")
    write, words = UNREADABLE[kind]
    write(root / f"images/train/b.{suffix}")
    (root / "labels/train/b.txt").write_text("0 .5 .5 .2 .2\n")
    report = inspect(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache", Reading(lenient))
    (told,) = report["dropped"]["listed"] if lenient else report["problems"]
    assert report["ok"] == lenient
    assert told["where"] == f"images/train/b.{suffix}"
    assert words in told["detail"]
