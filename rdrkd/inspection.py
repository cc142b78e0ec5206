"""Inspect an upload without trusting it: is it a dataset or a model that a run can use, and what does it hold.

The worker runs this in a process of its own, under `limit_resources`.
"""

import ctypes
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rdrkd.data.archive import unpack
from rdrkd.data.check import Findings, check
from rdrkd.data.dataset import Dataset, open_dataset, uploaded_layout
from rdrkd.errors import DatasetError, ModelError, Problem
from rdrkd.files import file_sha256

MODEL_SUFFIXES = (".pt", ".safetensors")
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


def limit_resources(
    memory_bytes: int = 12 << 30, cpu_seconds: int = 1800, file_bytes: int = 1 << 30, open_files: int = 512
) -> None:
    """Bound what this process can use from here on; there is no way back, so only a process of its own calls this.

    Args:
        memory_bytes: of address space; a small model takes 4 GiB, which torch reserves as it is imported.
        cpu_seconds: of computing, after which the kernel kills the process.
        file_bytes: of each file that is written.
        open_files: at a time.
    """
    bounds = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (bound, bound))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def inspect(path: Path, cache: Path | None = None, convert: Path | None = None) -> dict[str, Any]:
    """Inspect a file or folder and report as plain JSON values.

    Args:
        path: a zip, `.pt` or `.safetensors`; or a folder or data YAML of this machine's owner.
        cache: where a sound zip stays unpacked for the runs to come; None leaves nothing.
        convert: folder in which a sound model is written in the other format, half precision; None: nowhere.

    Returns:
        `kind` (dataset, model or unknown), `ok`, `sha256`, `size` in bytes, `problems` ({where, detail} each),
        `more_problems` (how many are not listed) and `warnings`. Of a dataset `names`, `statistics` and `skipped`
        (entries of the zip that are not needed, by suffix); of a model `architecture`, `names`, `parameters`,
        `strides`, `reg_max` and `task`. A bad file is an answer, not an exception.

    Raises:
        DiskFullError: no room to unpack it.
        FileNotFoundError: there is nothing at `path`.
    """
    if path.is_dir() or path.suffix.lower() in (".zip", ".yaml", ".yml"):
        return _inspect_dataset(path, cache)
    report = _report("model", file_sha256(path), path.stat().st_size)
    if path.suffix.lower() not in MODEL_SUFFIXES:
        expected = ".zip (a dataset), " + " or ".join(MODEL_SUFFIXES) + " (a model)"
        return _refuse(report | {"kind": "unknown"}, [Problem(path.name, f"expected {expected}, got {path.suffix!r}")])
    return _inspect_model(path, report, convert)


def _inspect_model(path: Path, report: dict[str, Any], convert: Path | None) -> dict[str, Any]:
    from rdrkd.models import (  # here: torch takes seconds to import, and a dataset needs none of it
        load_weights,
        save_student,
    )

    try:
        loaded = load_weights(path)
    except ModelError as error:
        return _refuse(report, error.problems or [Problem(path.name, str(error))])
    except MemoryError:
        return _refuse(report, [Problem(path.name, "expected a model that fits the memory of an inspection")])
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
        "reg_max": int(loaded.head.reg_max),
        "task": "detect",
    }


def _inspect_dataset(path: Path, cache: Path | None) -> dict[str, Any]:
    archive = path.suffix.lower() == ".zip" and path.is_file()
    report = _report("dataset", file_sha256(path) if archive else None, path.stat().st_size if archive else 0)
    private = tempfile.TemporaryDirectory(prefix="rdrkd-inspect-") if cache is None else nullcontext(cache)
    with private as folder:
        try:
            return (_of_archive if archive else _of_folder)(path, Path(folder), report)
        except DatasetError as error:
            return _refuse(report, error.problems or [Problem(path.name, str(error))])
        except MemoryError:
            return _refuse(report, [Problem(path.name, "expected a dataset that fits the memory of an inspection")])


def _of_archive(path: Path, cache: Path, report: dict[str, Any]) -> dict[str, Any]:
    """Check an archive before its unpacked folder gets its final name, so that an unsound one leaves nothing."""
    results: list[dict[str, Any]] = []

    def accept(folder: Path) -> None:
        layout = uploaded_layout(folder)
        dataset = Dataset(layout.root, layout.names, layout.splits, layout.annotations, report["sha256"])
        findings = check(dataset)
        results.append(_describe(report, dataset, findings))
        if findings.problems:
            raise DatasetError(findings.problems[0].detail, findings.problems)

    try:
        unpacked = unpack(path, cache.resolve(), accept=accept)
        if not results:  # it lay there already
            accept(unpacked.folder)
    except DatasetError:
        if results:
            return results[0]
        raise
    return results[0] | {"skipped": unpacked.skipped}


def _of_folder(path: Path, cache: Path, report: dict[str, Any]) -> dict[str, Any]:
    dataset = open_dataset(path, cache)
    size = sum(image.stat().st_size for split in dataset.splits for image in dataset.images(split))
    return _describe(report | {"sha256": dataset.sha256, "size": size}, dataset, check(dataset))


def _report(kind: str, sha256: str | None, size: int) -> dict[str, Any]:
    return {
        "kind": kind, "ok": True, "sha256": sha256, "size": size, "problems": [], "more_problems": 0, "warnings": [],
    }  # fmt: skip


def _describe(report: dict[str, Any], dataset: Dataset, findings: Findings) -> dict[str, Any]:
    return report | {
        "ok": not findings.problems,
        "problems": [asdict(problem) for problem in findings.problems],
        "more_problems": findings.more_problems,
        "warnings": findings.warnings,
        "names": list(dataset.names),
        "statistics": findings.statistics,
        "skipped": {},
    }


def _refuse(report: dict[str, Any], problems: Sequence[Problem]) -> dict[str, Any]:
    return report | {"ok": False, "problems": [asdict(problem) for problem in problems]}
