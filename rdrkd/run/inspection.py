"""Inspect an untrusted upload: whether a run can use it as a dataset or model, and what it contains.

The worker runs this in a separate process, under `limit_resources`.
"""

import ctypes
import errno
import logging
import resource
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rdrkd.data.album import draw_album
from rdrkd.data.dataset import Dataset
from rdrkd.data.inspection import Draw, empty_report, inspect_dataset, refused
from rdrkd.data.preview import draw as draw_preview
from rdrkd.data.reading import AS_IT_IS, Reading
from rdrkd.errors import ModelError, Problem, RdrkdError
from rdrkd.files import file_sha256
from rdrkd.suffixes import ARCHIVES, archive_suffix

log = logging.getLogger(__name__)

_OF_THE_NAME = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ)
MODEL_SUFFIXES = (".pt", ".safetensors")
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


def limit_resources(memory_bytes: int, cpu_seconds: int, file_bytes: int, open_files: int = 512) -> None:
    """Limit the resources of this process irrevocably, so call it only in a process of its own.

    Args:
        memory_bytes: private memory; importing torch takes one GiB of it.
        cpu_seconds: processor time, after which the kernel kills the process.
        file_bytes: size of each file written.
        open_files: number open at a time.
    """
    bounds = {
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        # Only the soft limit of processor time is set: the hard one sends SIGKILL, which does not show the cause.
        resource.setrlimit(kind, (bound, hard if kind == resource.RLIMIT_CPU else bound))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def inspect(
    path: Path,
    cache: Path | None = None,
    reading: Reading | None = None,
    preview: Path | None = None,
    convert: Path | None = None,
    name: str | None = None,
    album: Path | None = None,
) -> dict[str, Any]:
    """Inspect a file or folder and report as plain JSON values.

    Args:
        path: a zip or tar, `.pt` or `.safetensors`; or a local folder or data YAML.
        cache: folder where a valid archive stays unpacked for later runs; None: nothing is kept.
        reading: how to read an archive, as its owner chose.
        preview: path of the JPEG to write for a valid dataset; None: none.
        convert: folder in which to write a valid model in the other format, in half precision; None: not written.
        album: folder in which to write images of a valid dataset for browsing; None: not written.
        name: the file's name in the report, as its owner knows it; None: its name on this machine.

    Returns:
        `kind` (dataset, model or unknown), `ok`, `sha256`, `size` in bytes, `problems` ({where, detail} each),
        `more_problems` (how many are not listed) and `warnings`. For a dataset also `format`, `lenient`, `divide`,
        `names`, `statistics`, `skipped` (entries of the archive that are not needed, by suffix) and, if read
        leniently, `dropped` (see `rdrkd.data.faults`); `disk_full` if there was no space to unpack it, which is no
        fault of the file. For a model also `architecture`, `names`, `parameters`, `strides`, `layers`, `reg_max`,
        `task` and `imgsz` (of its training; None if unknown). A bad file is reported in the result, not raised.

    Raises:
        FileNotFoundError: there is nothing at `path`.
    """
    report = _answered(path, cache, reading or AS_IT_IS, _drawing(preview, album), convert)
    return report if name is None else report | {"problems": _named(report["problems"], path.name, name)}


def _drawing(preview: Path | None, album: Path | None) -> Draw:
    """Return the function that draws a valid dataset; an album that cannot be drawn does not fail the inspection."""

    def draw(dataset: Dataset) -> None:
        if preview is not None:
            draw_preview(dataset, preview)
        if album is not None:
            try:
                draw_album(dataset, album)
            except Exception:
                log.exception("cannot draw the images for browsing")

    return draw


def _named(problems: Sequence[dict[str, str]], here: str, name: str) -> list[dict[str, str]]:
    """Return problems with the file's name as its owner knows it instead of the storage's own name."""
    return [{key: value.replace(here, name) for key, value in problem.items()} for problem in problems]


def _answered(path: Path, cache: Path | None, reading: Reading, draw: Draw, convert: Path | None) -> dict[str, Any]:
    if path.suffix.lower() in MODEL_SUFFIXES:
        import_module("rdrkd.models")  # outside of `try`: a broken installation says nothing of the file
    try:
        return _inspect(path, cache, reading, draw, convert)
    except (RdrkdError, FileNotFoundError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _OF_THE_NAME:
            raise  # this machine's disk, not the file
        log.exception("the inspection failed unexpectedly; refusing the file")
        kind = "model" if path.suffix.lower() in MODEL_SUFFIXES else "dataset"
        detail = f"expected a {kind} that can be read, got one at which reading fails with {type(error).__name__}"
        return refused(empty_report(kind, file_sha256(path), path.stat().st_size), [Problem(path.name, detail)])


def _inspect(path: Path, cache: Path | None, reading: Reading, draw: Draw, convert: Path | None) -> dict[str, Any]:
    if path.is_dir() or archive_suffix(path.name) or path.suffix.lower() in (".yaml", ".yml"):
        return inspect_dataset(path, cache, reading, draw)
    report = empty_report("model", file_sha256(path), path.stat().st_size)
    if path.suffix.lower() not in MODEL_SUFFIXES:
        expected = f"{', '.join(ARCHIVES)} (a dataset), {' or '.join(MODEL_SUFFIXES)} (a model)"
        return refused(report | {"kind": "unknown"}, [Problem(path.name, f"expected {expected}, got {path.suffix!r}")])
    return _inspect_model(path, report, convert)


def _inspect_model(path: Path, report: dict[str, Any], convert: Path | None) -> dict[str, Any]:
    from rdrkd.models import (  # here: torch takes seconds to import, and a dataset needs none of it
        load_weights,
        save_student,
    )

    try:
        loaded = load_weights(path)
    except ModelError as error:
        return refused(report, error.problems or [Problem(path.name, str(error))])
    except MemoryError:
        return refused(report, [Problem(path.name, "expected a model that fits the memory of an inspection")])
    if convert is not None:
        convert.mkdir(parents=True, exist_ok=True)
        written = save_student(loaded.model, convert, {})
        for name in written:
            if Path(name).suffix == path.suffix.lower():
                (convert / name).unlink()
        if len(written) < len(MODEL_SUFFIXES):
            report["warnings"].append(
                "its layout has no name here, which a .safetensors needs: it can be had as .pt only"
            )
    return report | {
        "architecture": loaded.architecture,
        "names": list(loaded.names),
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "strides": loaded.strides,
        "layers": len(loaded.model.model),
        "reg_max": int(loaded.head.reg_max),
        "task": "detect",
        "imgsz": loaded.imgsz,
    }
