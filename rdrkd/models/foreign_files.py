"""Recognise files that are not usable weights, and explain what they are and what their owner can do."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rdrkd.file_signatures import head_of, placeholder

_WANTED = "expected an Ultralytics checkpoint of a detection model (.pt), or a .safetensors file of this library"
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of torch before 1.6
_TASKS = {
    "SegmentationModel": "segmentation", "PoseModel": "pose", "OBBModel": "oriented boxes",
    "ClassificationModel": "classification", "WorldModel": "open-vocabulary detection (YOLO-World)",
    "YOLOEModel": "open-vocabulary detection (YOLOE)", "RTDETRDetectionModel": "detection by RT-DETR",
}  # fmt: skip
_HEADS = {"v10Detect": "YOLOv10", "RTDETRDecoder": "RT-DETR", "WorldDetect": "YOLO-World", "YOLOEDetect": "YOLOE"}
_AGAIN = "export or download the .pt again"
_PLAIN = "pass the .pt that it was made from"


def refusal_of_file(path: Path) -> str | None:
    """Return why a file is not a weights file, judging by its first bytes; None if they do not show it."""
    head = head_of(path)
    if (left := placeholder(head)) is not None:
        return f"{_WANTED}, got {left}"
    if (found := _content(path, head)) is None:
        return None
    return _refusal(*found)


def refusal_of_content(content: Any) -> str:
    """Return why the content of a checkpoint is not a detection model.

    Args:
        content: the unpickled checkpoint, or the model in it.
    """
    found = content
    if isinstance(content, Mapping):
        found = content.get("ema") or content.get("model")
    return _refusal(*_held(content if found is None else found))


def foreign_type(error: BaseException) -> str | None:
    """Return why a checkpoint that refers to a forbidden type cannot be read; None for other errors."""
    messages = " ".join(str(each) for each in (error, error.__cause__, error.__context__) if each is not None)
    if (found := re.search(r"GLOBAL ([A-Za-z_][\w.]{0,99})", messages)) is None:
        return None
    if found[1].startswith("torch.nn.parallel"):
        return _refusal("a network wrapped for several devices (DataParallel)", "save its `module` with Ultralytics")
    what = "a YOLOv5 or YOLOv7 checkpoint of its own repository" if found[1].startswith("models.") else "foreign code"
    advice = "train or convert it with the `ultralytics` package; code in a checkpoint is never run"
    return _refusal(f"{what} (it refers to {found[1]})", advice)


def _refusal(what: str, advice: str) -> str:
    return f"{_WANTED}, got {what}; {advice}"


def _content(path: Path, head: bytes) -> tuple[str, str] | None:
    """Return what a file is and what to do about it, or None if it may be weights."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return "a web page or XML", "open the link in a browser, and download the file itself"
    if text.startswith(b"{") and b'"__metadata__"' not in head[:200]:
        return "JSON or another text", "a server's answer may have been saved instead of the file; download it again"
    for marks, what in _MAGIC:
        if any(head[at : at + len(mark)] == mark for at, mark in marks):
            return what, _PLAIN
    if head[:1] == b"\x08" and (b"pytorch" in head[:64] or b"onnx" in head[:64].lower()):
        return "an ONNX model", _PLAIN
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20:
        named = path.suffix.lower() != ".safetensors"
        return ("safetensors under another name", "rename it to .safetensors") if named else None
    if path.suffix.lower() == ".safetensors" and head[:2] in (b"PK", b"\x80\x02"):
        return "a torch checkpoint under another name", "rename it to .pt"
    if head.startswith(_OLD_TORCH):
        advice = "if you trust it, load it with torch and `torch.save` it again, which writes today's format"
        return "a checkpoint in the format of torch before 1.6", advice
    return _archive(path) if head[:2] == b"PK" else _other(head)


_MAGIC: tuple[tuple[tuple[tuple[int, bytes], ...], str], ...] = (
    (((0, b"ftrt"), (0, b"ptrt")), "a TensorRT engine"),
    (((4, b"TFL3"),), "a TensorFlow Lite model"),
    (((0, b"\x89HDF\r\n"),), "an HDF5 file, as Keras writes them"),
    (((0, b"\x1f\x8b"), (0, b"7z\xbc\xaf"), (0, b"Rar!"), (0, b"BZh"), (0, b"\xfd7zXZ"), (257, b"ustar")),
     "an archive"),
    (((0, b"\x89PNG"), (0, b"\xff\xd8\xff"), (0, b"%PDF"), (0, b"GIF8")), "a picture or document"),
    (((0, b"\x7fELF"), (0, b"MZ")), "a program"),
)  # fmt: skip


def _archive(path: Path) -> tuple[str, str] | None:
    """Return what a zip file is and what to do about it, or None if torch wrote it and it is complete."""
    try:
        with zipfile.ZipFile(path) as opened:
            names = opened.namelist()[:100_000]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "the beginning of a torch checkpoint or zip, cut short or damaged (it cannot be read to its end)", _AGAIN
    parts = {name.partition("/")[2] for name in names}
    if "data.pkl" not in parts:
        return "a zip archive that torch did not write", "a dataset's archive is uploaded as a dataset"
    if "constants.pkl" in parts:
        return "a TorchScript archive", _PLAIN
    return None


def _other(head: bytes) -> tuple[str, str] | None:
    if head[:1] == b"\x80":
        return None  # a pickle; its reader reports what it holds
    if (size := int.from_bytes(head[:4], "little")) < 1 << 16 and head[4:5] == b"{" and size > 2:
        return "a TensorRT engine as Ultralytics exports it", _PLAIN
    kind = "a text" if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head) else "other data"
    return f"{kind}, beginning with {head[:16]!r}", _AGAIN


def _held(found: Any) -> tuple[str, str]:
    kind = type(found).__name__
    if kind in _TASKS:
        return f"an Ultralytics model for {_TASKS[kind]} ({kind})", "train or download one for detection"
    if isinstance(found, nn.Module):
        layers = getattr(found, "model", None)
        if isinstance(found, nn.Sequential) and type(found[-1]).__name__ == "Detect":
            what = "the bare layers of a network, without class names and configuration"
            return what, "save the whole model with Ultralytics (`YOLO(...).save('name.pt')`), not with `torch.save`"
        head = type(layers[-1]).__name__ if isinstance(layers, nn.Sequential) and len(layers) else kind
        if head in _HEADS:
            advice = "YOLOv8, YOLO11 and YOLO26 detectors can be used"
            return f"{_HEADS[head]}, whose head ({head}) this version cannot distil", advice
        return f"a network of another kind ({kind})", "save the model with Ultralytics (`model.save('name.pt')`)"
    if _are_tensors(found) or (isinstance(found, Mapping) and any(_are_tensors(value) for value in found.values())):
        advice = "a state dict has no architecture and class names: load it into its model, and `model.save('name.pt')`"
        return "bare tensors (a state dict) without their network", advice
    keys = ", ".join(sorted(map(str, found))[:5]) if isinstance(found, Mapping) else ""
    what = f"a dictionary of {keys or 'nothing'}" if isinstance(found, Mapping) else f"a pickled {kind}"
    return what, "save the model with Ultralytics (`model.save('name.pt')`)"


def _are_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(one, Tensor) for one in value.values())
