"""Inspect an upload without trusting it: is it a dataset or a model that a run can use, and what does it hold.

The worker runs this in a process of its own, under `limit_resources`.
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
    """Bound what this process can use from here on; there is no way back, so only a process of its own calls this.

    Args:
        memory_bytes: of private memory, of which torch takes one GiB as it is imported.
        cpu_seconds: of computing, after which the kernel kills the process.
        file_bytes: of each file that is written.
        open_files: at a time.
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
        # The limit of processor time is left to the soft one: past the hard one comes SIGKILL, which tells no cause.
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
        path: a zip or tar, `.pt` or `.safetensors`; or a folder or data YAML of this machine's owner.
        cache: where a sound archive stays unpacked for the runs to come; None leaves nothing.
        reading: how its owner wants an archive to be read.
        preview: JPEG to write of a sound dataset; None: none.
        convert: folder in which a sound model is written in the other format, half precision; None: nowhere.
        album: folder in which images of a sound dataset are laid to leaf through; None: nowhere.
        name: what its owner calls the file, for the report; None: its name here.

    Returns:
        `kind` (dataset, model or unknown), `ok`, `sha256`, `size` in bytes, `problems` ({where, detail} each),
        `more_problems` (how many are not listed) and `warnings`. Of a dataset `format`, `lenient`, `divide`, `names`,
        `statistics`, `skipped` (entries of the archive that are not needed, by suffix) and, of a lenient look,
        `dropped` (see `rdrkd.data.faults`); `disk_full` where there was no room to unpack it, which says nothing of
        the file; of a model `architecture`, `names`, `parameters`, `strides`, `layers`,
        `reg_max`, `task` and `imgsz` (of its training; None where unknown). A bad file is an answer, not an exception.

    Raises:
        FileNotFoundError: there is nothing at `path`.
    """
    report = _answered(path, cache, reading or AS_IT_IS, _drawing(preview, album), convert)
    return report if name is None else report | {"problems": _named(report["problems"], path.name, name)}


def _drawing(preview: Path | None, album: Path | None) -> Draw:
    """Return what draws a sound dataset; for want of an album nothing is refused."""

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
    """Return problems that call the file as its owner does: a store's own names mean nothing to people."""
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
