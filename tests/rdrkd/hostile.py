"""Files that are wrong on purpose: each kind of upload, with hostile headers, and with bytes changed at random."""

import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save

from rdrkd.ultralytics_adapter import DetectionModel
from tests.rdrkd.data.crafted import YAML, make_dataset, zip_up

DEEP = "[" * 100_000
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # up to its width
LABEL, CENTRAL = "labels__train__a.txt", b"PK\1\2\x14\3\x14\0\0\0"  # the latter of an entry: versions and flags
Make = Callable[[Path], bytes]


def _dataset(folder: Path, **files: str | bytes) -> bytes:
    root = make_dataset(folder / "of")
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return zip_up(root, folder / "of.zip").read_bytes()


def _yaml(text: str) -> Make:
    return lambda folder: _dataset(folder, **{"data.yaml": text})


def _coco(text: str) -> Make:
    def make(folder: Path) -> bytes:
        root = make_dataset(folder / "of", yaml=None)
        for split in ("train", "val"):
            (root / f"{split}.json").write_text(text)
        return zip_up(root, folder / "of.zip").read_bytes()

    return make


def _image(content: bytes) -> Make:
    return lambda folder: _dataset(folder, images__train__b_png=b"", **{"images__train__a.png": content})


def _tar(header: dict[str, str] | None = None, name: str = "a", **fields: object) -> Make:
    def make(folder: Path) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as opened:
            info = tarfile.TarInfo(name)
            info.pax_headers = header or {}
            for key, value in fields.items():
                setattr(info, key, value)
            opened.addfile(info, io.BytesIO(b""))
        return buffer.getvalue()

    return make


def _gnu_name(size: int) -> bytes:
    info = tarfile.TarInfo("x" * size)
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)


def _zip(change: Callable[[zipfile.ZipInfo], object] = lambda info: None, name: str = "a.txt") -> Make:
    def make(folder: Path) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as opened:
            info = zipfile.ZipInfo(name)
            change(info)
            opened.writestr(info, b"x")
        return buffer.getvalue()

    return make


def _safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def _model() -> DetectionModel:
    model = DetectionModel("yolov8n.yaml", nc=1, verbose=False).half()
    model.names = {0: "car"}
    return model


def checkpoint(folder: Path) -> bytes:
    torch.save({"model": _model()}, folder / "of.pt")
    return (folder / "of.pt").read_bytes()


def tensors(folder: Path) -> bytes:
    metadata = {"rdrkd": json.dumps({"architecture": "yolov8n", "names": ["car"]})}
    return save({key: value.contiguous() for key, value in _model().state_dict().items()}, metadata)


def tarred(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        opened.add(make_dataset(folder / "of"), ".")
    return buffer.getvalue()


def _described(text: str) -> bytes:
    """Return tensors with this text as our metadata."""
    return _safetensors(_META % json.dumps(text).encode()) + bytes(4)


_META = b'{"__metadata__":{"rdrkd":%s},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
HOSTILE: dict[str, tuple[str, Make]] = {
    "yaml: NUL in a path": (".zip", _yaml('path: "a\\0b"\ntrain: x\nval: x\nnames: [a]\n')),
    "yaml: NUL in a split": (".zip", _yaml('train: "a\\0b"\nval: x\nnames: [a]\n')),
    "yaml: a long part": (".zip", _yaml(f"train: {'x' * 3000}\nval: x\nnames: [a]\n")),
    "yaml: many parts": (".zip", _yaml(f"train: {'x/' * 2000}\nval: x\nnames: [a]\n")),
    "yaml: a surrogate": (".zip", _yaml('train: "\\ud800"\nval: x\nnames: [a]\n')),
    "yaml: a surrogate in a name": (".zip", _yaml('train: images/train\nval: images/val\nnames: ["\\udfff", b]\n')),
    "yaml: deep": (".zip", _yaml(f"names: {DEEP}")),
    "yaml: a tag on another value": (".zip", _yaml(YAML + "date: !!bool x\n")),
    "yaml: a tag on nothing": (".zip", _yaml(YAML + "date: !!int ''\n")),
    "yaml: no moment": (".zip", _yaml(YAML + "date: !!timestamp x\n")),
    "yaml: a key that is a list": (".zip", _yaml("? [a]\n: b\n")),
    "yaml: a long number": (".zip", _yaml(f"names: [a]\nnc: 0x{'f' * 9000}\n")),
    "yaml: a long class number": (".zip", _yaml(f"names: {{0x{'f' * 9000}: a}}\n")),
    "yaml: infinite": (".zip", _yaml("names: {.inf: a, .nan: b}\nnc: .nan\n")),
    "json: deep": (".zip", _coco(DEEP)),
    "json: a long number": (".zip", _coco("9" * 5000)),
    "json: infinite boxes": (
        ".zip",
        _coco('{"images":[{"id":1,"file_name":"a.png","width":1e999,"height":NaN}],"categories":[{"id":1,"name":"a"}],'
              '"annotations":[{"id":1,"image_id":1,"category_id":1,"bbox":[1e999,NaN,-1e999,0]}]}'),
    ),
    "json: NUL in a file's name": (
        ".zip",
        _coco('{"images":[{"id":1,"file_name":"a\\u0000.png","width":8,"height":8}],'
              '"categories":[{"id":1,"name":"a"}],"annotations":[]}'),
    ),
    "json: lists as ids": (
        ".zip",
        _coco('{"images":[{"id":[1],"file_name":{},"width":[],"height":{}}],"categories":[{"id":1,"name":"a"}],'
              '"annotations":[{"id":{},"image_id":[],"category_id":{},"bbox":{}}]}'),
    ),
    "json: a surrogate": (
        ".zip",
        _coco('{"images":[{"id":1,"file_name":"\\ud800.png","width":8,"height":8}],'
              '"categories":[{"id":1,"name":"\\udfff"}],"annotations":[]}'),
    ),
    "image: nothing": (".zip", _image(b"")),
    "image: a header alone": (".zip", _image(PNG)),
    "image: vast": (".zip", _image(PNG + struct.pack(">II", 2**31 - 1, 2**31 - 1) + b"\x08\2")),
    "image: a JPEG of nothing": (".zip", _image(b"\xff\xd8\xff\xe0" + bytes(100))),
    "label: not text": (".zip", lambda folder: _dataset(folder, **{LABEL: b"\xff\0\xfe" * 99})),
    "label: long numbers": (".zip", lambda folder: _dataset(folder, **{LABEL: "9" * 9000 + " 1 1 1 1"})),
    "label: infinite": (".zip", lambda folder: _dataset(folder, **{LABEL: "0 nan inf -inf 1e999"})),
    "tar: a name of 20 MB": (".tar", lambda folder: _gnu_name(20 << 20)),
    "tar: a name of 20 MB as extended header": (".tar", _tar({"path": "x" * (20 << 20)})),
    "tar: a size that is none": (".tar", _tar({"size": "x"})),
    "tar: a negative size": (".tar", _tar({"size": "-1"})),
    "tar: a vast size": (".tar", _tar({"size": "9" * 30})),
    "tar: a moment that is none": (".tar", _tar({"mtime": "nan"})),
    "tar: sparse": (".tar", _tar({"GNU.sparse.map": "x,y", "GNU.sparse.size": "9"})),
    "tar: sparse numbers": (
        ".tar", _tar({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"})
    ),
    "tar: an extended header without length": (
        ".tar", lambda folder: _tar({"path": "y" * 99})(folder).replace(b"path", b"=\n=\n")
    ),
    "tar: a surrogate": (".tar", _tar(name="\udcff.png")),
    "tar: nothing": (".tar", lambda folder: b""),
    "tar: zeros": (".tar", lambda folder: bytes(10_240)),
    "tar: a gzip of nothing": (".tar.gz", lambda folder: b"\x1f\x8b"),
    "zip: a NUL in a name": (".zip", _zip(lambda info: setattr(info, "filename", "a\0b.png"))),
    "zip: a name of 60 kB": (".zip", _zip(name="x" * 60_000)),
    "zip: encrypted": (".zip", lambda folder: _zip()(folder).replace(CENTRAL, CENTRAL[:-2] + b"\1\0")),
    "zip: another method": (".zip", lambda folder: _zip()(folder).replace(CENTRAL + b"\0\0", CENTRAL + b"\x63\0")),
    "zip: a newer version": (".zip", lambda folder: _zip()(folder).replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff")),
    "zip: extra field cut short": (".zip", _zip(lambda info: setattr(info, "extra", b"\1\0\xff\xff"))),
    "zip: nothing": (".zip", lambda folder: b""),
    "zip: an end alone": (".zip", lambda folder: b"PK\5\6" + b"\xff" * 18),
    "safetensors: deep": (".safetensors", lambda folder: _described(DEEP)),
    "safetensors: a deep header": (".safetensors", lambda folder: _safetensors(DEEP.encode())),
    "safetensors: no object": (".safetensors", lambda folder: _described("[]")),
    "safetensors: names that are none": (
        ".safetensors",
        lambda folder: _described(json.dumps({"architecture": {}, "names": [[], {}]})),
    ),
    "safetensors: a long number": (".safetensors", lambda folder: _described("9" * 5000)),
    "safetensors: a vast header": (".safetensors", lambda folder: struct.pack("<Q", 2**63) + b"{}"),
    "safetensors: nothing": (".safetensors", lambda folder: b""),
    "pt: nothing": (".pt", lambda folder: b""),
    "pt: a zip of nothing": (".pt", lambda folder: b"PK\5\6" + bytes(18)),
    "pt: a zip of text": (".pt", _zip()),
    "pt: a list": (".pt", lambda folder: _saved(folder, [1, 2])),
    "pt: numbers": (".pt", lambda folder: _saved(folder, {"model": 1, "ema": {}})),
    "pt: deep": (".pt", lambda folder: b"\x80\2" + b"]" * 10 + b"(" * 100_000),
    "pt: a memo of four billion": (".pt", lambda folder: b"\x80\2}r\xff\xff\xff\xff."),
    "pt: a text of four billion": (".pt", lambda folder: b"\x80\2X\xff\xff\xff\xff."),
}  # fmt: skip
SOUND: dict[str, tuple[str, Make]] = {
    "zip": (".zip", _dataset),
    "tar.gz": (".tar.gz", tarred),
    "pt": (".pt", checkpoint),
    "safetensors": (".safetensors", tensors),
}


def _saved(folder: Path, value: object) -> bytes:
    torch.save(value, folder / "of.pt")
    return (folder / "of.pt").read_bytes()


def changed(content: bytes, number: int, seed: int) -> Iterator[bytes]:
    """Return copies with bytes changed, cut off, doubled or left out; half of them within the headers."""
    dice = random.Random(seed)
    for _ in range(number):
        copy = bytearray(content)
        most = min(len(copy), 2000) if dice.random() < 0.5 else len(copy)
        for _ in range(dice.choice((1, 1, 2, 8))):
            place = (
                dice.randrange(most) if dice.random() < 0.7 else len(copy) - 1 - dice.randrange(min(most, len(copy)))
            )
            match dice.randrange(5):
                case 0 | 1:
                    copy[place] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
                case 2:
                    del copy[place : place + dice.choice((1, 8, 512))]
                case 3:
                    copy[place:place] = copy[place : place + dice.choice((1, 8, 512))]
                case 4:
                    del copy[place : None if dice.random() < 0.2 else place + 1]
            if len(copy) < 4:
                break
            most = min(most, len(copy))
        yield bytes(copy)
