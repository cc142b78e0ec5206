"""Ultralytics' official weights: their names, their source, and one verified copy on this machine.

A copy is verified by its SHA-256: that in `hashes.json` if listed, otherwise that of the first copy in this folder,
which is stored beside it as `<name>.sha256`. A copy may also be placed there by hand, for a machine without a network.
"""

import fcntl
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rdrkd.errors import ModelError
from rdrkd.files import file_sha256, full_disk_named, sync_folder, write_atomically
from rdrkd.pretrained.downloads import DownloadError, download, shown
from rdrkd.spec.references import FAMILIES, OFFICIAL

SOURCE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
SOURCE_VARIABLE = "RDRKD_PRETRAINED_URL"
IMGSZ = 640  # px, with which all of them were trained
CLASSES = 80  # COCO's, which all of them detect
ADVICE = (
    "official weights detect COCO's 80 classes: train them on this dataset first (`rdrkd train`, or a `train` job with "
    "them as its `model`), or start the student from them"
)


def named(text: str) -> str | None:
    """Return the architecture whose official weights a text names.

    >>> named("yolov8l.pt"), named("weights/yolov8l.pt"), named("yolov8n-half.pt")
    ('yolov8l', None, None)
    """
    name = text.removesuffix(".pt")
    return name if name in OFFICIAL and text.endswith(".pt") else None


def card(architecture: str) -> dict[str, Any]:
    """Return the facts about official weights without opening them, in the form of an upload's check.

    >>> card("yolo26n")["reg_max"], len(card("yolo26n")["names"])
    (1, 80)
    """
    family = next(family for family, names in FAMILIES.items() if architecture in names)
    bins = 1 if family == "yolo26" else 16
    return {"architecture": architecture, "names": coco_names(), "strides": [8, 16, 32], "reg_max": bins}


@cache
def coco_names() -> list[str]:
    """Return COCO's class names in order."""
    return files(__package__).joinpath("coco.txt").read_text(encoding="utf-8").splitlines()


def own_folder() -> Path:
    """Return the folder in which the command line keeps official weights."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rdrkd" / "pretrained"


def source() -> str:
    """Return where the command line fetches official weights from; empty: nowhere."""
    return os.environ.get(SOURCE_VARIABLE, SOURCE)


def fetch(architecture: str, folder: Path, url: str, place: str | None = None) -> Path:
    """Return the verified copy of official weights in a folder; download it if there is none.

    Args:
        architecture: one of `OFFICIAL`.
        folder: where copies are kept; several processes may share it.
        url: of the folder to download from; empty: do not download.
        place: name of the folder in errors, for readers who must not see this machine's paths.

    Raises:
        ModelError: there is no copy and none can be downloaded, or its SHA-256 is not the expected one.
        DiskFullError: there is no space for it.
    """
    name = f"{architecture}.pt"
    place = place or str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{name}.lock"):
            return _copy(folder, name, url.rstrip("/"), place)
    except PermissionError as error:
        raise ModelError(f"expected to write {name} into {place}, got: {error.strerror}") from error


def _copy(folder: Path, name: str, url: str, place: str) -> Path:
    path = folder / name
    expected = _expected(folder, name)
    if path.is_file() and _accepted(path, expected):
        _pin(folder, name, expected or file_sha256(path))
        return path
    origin = shown(f"{url}/{name}") if url else f"nowhere ({SOURCE_VARIABLE} is empty)"
    partial = folder / f".{name}.part"
    try:
        if not url:
            raise DownloadError("downloads are turned off")
        with full_disk_named(name):
            download(f"{url}/{name}", partial)
        if not _accepted(partial, expected):
            raise DownloadError(_odd(partial, expected, place, name))
        _pin(folder, name, expected or file_sha256(partial))
        partial.replace(path)
        sync_folder(folder)
    except DownloadError as error:
        raise ModelError(
            f"expected the official weights {name} from {origin}, got: {error}. Where this machine cannot reach it, "
            f"put the file into {place}, or set {SOURCE_VARIABLE} to a mirror"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _expected(folder: Path, name: str) -> str | None:
    """Return the SHA-256 that a copy must have: the published one, or else the first copy's; None before that."""
    published: dict[str, str] = json.loads(files(__package__).joinpath("hashes.json").read_text())["sha256"]
    pin = folder / f"{name}.sha256"
    return published.get(name) or (pin.read_text().strip() if pin.is_file() else None)


def _accepted(path: Path, expected: str | None) -> bool:
    """Return whether a file is the expected one; without a hash, whether it is a complete torch file."""
    return file_sha256(path) == expected if expected else zipfile.is_zipfile(path)


def _odd(path: Path, expected: str | None, place: str, name: str) -> str:
    if expected is None:
        return "no checkpoint of torch, such as a web page, or the beginning of one"
    return f"sha256 {file_sha256(path)} instead of {expected} (if you trust it, delete {name}.sha256 in {place})"


def _pin(folder: Path, name: str, sha256: str) -> None:
    pin = folder / f"{name}.sha256"
    if not pin.is_file():
        write_atomically(pin, f"{sha256}\n".encode())


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process fetches the same file; bounded, as downloads are."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases it however this process ends
        yield
