"""Inspect a dataset, an untrusted archive or a local folder; the report consists of plain JSON values."""

import errno
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rdrkd.data.archive import unpack
from rdrkd.data.check import MOST_PROBLEMS, Findings, check
from rdrkd.data.dataset import Dataset, local_dataset
from rdrkd.data.faults import Faults
from rdrkd.data.formats import Format, detect
from rdrkd.data.opening import refuse_options
from rdrkd.data.reading import Reading
from rdrkd.data.to_yolo import Settled, reopened, settle
from rdrkd.errors import DatasetError, DiskFullError, Problem
from rdrkd.files import file_sha256
from rdrkd.problem_grouping import Grouped
from rdrkd.suffixes import archive_suffix

Report = dict[str, Any]
Draw = Callable[[Dataset], None]
LONGEST_WHERE, LONGEST_DETAIL = 500, 2000  # characters of a problem's fields
MOST_SKIPPED = 100  # kinds of skipped entries that a report counts


def inspect_dataset(path: Path, cache: Path | None, reading: Reading, draw: Draw) -> Report:
    """Inspect a dataset; for the arguments and the report see `rdrkd.run.inspection.inspect`."""
    report: Report = _storable(_inspected(path, cache, reading, draw))
    return report


def _storable(value: Any) -> Any:
    """Return JSON values with text that every database can store: names in a dataset may hold lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "\\x00").encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return {key: _storable(one) for key, one in value.items()} if isinstance(value, dict) else value


def _inspected(path: Path, cache: Path | None, reading: Reading, draw: Draw) -> Report:
    is_archive = archive_suffix(path.name) is not None and path.is_file()
    sha256, size = (file_sha256(path), path.stat().st_size) if is_archive else (None, 0)
    report = empty_report("dataset", sha256, size) | {"format": None, "lenient": reading.lenient and is_archive}
    private = tempfile.TemporaryDirectory(prefix="rdrkd-inspect-") if cache is None else nullcontext(cache)
    with private as folder:
        try:
            if is_archive:
                return _of_archive(path, Path(folder), report, reading, draw)
            refuse_options(path, reading)
            return _of_folder(path, report, draw)
        except DatasetError as error:
            return refused(report, error.problems or [Problem(path.name, str(error))])
        except MemoryError:
            return refused(report, [Problem(path.name, "expected a dataset that fits the memory of an inspection")])
        except DiskFullError as error:
            too_large = getattr(error.__cause__, "errno", None) == errno.EFBIG  # a limit of ours, not the disk's
            return refused(report, [Problem(path.name, str(error))]) | {"disk_full": not too_large}


def empty_report(kind: str, sha256: str | None, size: int) -> Report:
    """Return the initial report, without problems."""
    return {
        "kind": kind, "ok": True, "sha256": sha256, "size": size, "problems": [], "more_problems": 0, "warnings": [],
    }  # fmt: skip


def refused(report: Report, problems: Sequence[Problem]) -> Report:
    """Return the report that refuses an upload; equal problems are merged."""
    grouped = Grouped()
    grouped.add(problems)
    listed, more = grouped.listed(MOST_PROBLEMS)
    return report | {"ok": False, "problems": [_listed(problem) for problem in listed], "more_problems": more}


def _listed(problem: Problem) -> dict[str, str]:
    """Return a problem truncated to a readable length: names in an archive can have megabytes."""
    return {"where": problem.where[:LONGEST_WHERE], "detail": problem.detail[:LONGEST_DETAIL]}


def _of_archive(path: Path, cache: Path, report: Report, reading: Reading, draw: Draw) -> Report:
    """Check an archive before its unpacked folder gets its final name, so that an invalid one leaves nothing."""
    results: list[Report] = []

    def accept(folder: Path) -> dict[str, Any]:
        form = detect(folder, reading.split)
        report["format"] = str(form)  # known even if it is refused below
        faults = Faults(reading.lenient, reading.keep)
        settled = settle(folder, form, faults, report["sha256"], reading.split)
        results.append(_judge(report | settled.notes, settled, draw))
        return settled.notes

    try:
        unpacked = unpack(path, cache.resolve(), accept=accept, variant=reading.variant)
        if not results:  # it was unpacked before
            settled = reopened(unpacked.folder, unpacked.sha256, unpacked.notes)
            results.append(_judge(report | settled.notes, settled, draw))
    except _Unsound as error:
        return error.report
    most = sorted(unpacked.skipped.items(), key=lambda item: (-item[1], item[0]))[:MOST_SKIPPED]
    return results[0] | {"skipped": dict(sorted(most))}


def _of_folder(path: Path, report: Report, draw: Draw) -> Report:
    dataset = local_dataset(path)
    size = sum(image.stat().st_size for split in dataset.splits for image in dataset.images(split))
    notes = {"format": str(Format.YOLO), "sha256": dataset.sha256, "size": size}
    try:
        return _judge(report | notes, Settled(dataset, notes), draw)
    except _Unsound as error:
        return error.report


class _Unsound(DatasetError):
    """The check has found problems; `report` lists them."""

    def __init__(self, report: Report) -> None:
        super().__init__("the dataset is unsound")
        self.report = report


def _judge(report: Report, settled: Settled, draw: Draw) -> Report:
    """Check a dataset and, if it is valid, draw pictures of it.

    Raises:
        _Unsound: it is not.
    """
    findings = check(settled.dataset)
    described = _describe(report, settled, findings)
    if findings.problems:
        raise _Unsound(described)
    draw(settled.dataset)
    return described


def _describe(report: Report, settled: Settled, findings: Findings) -> Report:
    problems, more = findings.listed(settled.came_from)  # name a converted image by its path in the upload
    return report | {
        "ok": not problems,
        "problems": [_listed(problem) for problem in problems],
        "more_problems": more,
        "warnings": findings.warnings,
        "names": list(settled.dataset.names),
        "statistics": findings.statistics,
        "skipped": {},
    }
