"""Metrics of a job's epochs: selection of series, range and downsampling. No function commits.

A series is one metric over the epochs. Its name is its path: `losses/decoupled`, `diagnostics/decoupled/ratio`,
`metrics/mAP50`, `lr`. A prefix of such paths selects all of them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.jobs import service as jobs
from api.tables.jobs import JobEpoch
from rdrkd.epochs import Part, place_in

GROUPS, SINGLES = ("metrics", "losses", "weights", "diagnostics"), ("lr", "seconds")  # of an epoch event
HEADS = ("epoch", "attempt", "part", "part_epoch")
Row = dict[str, Any]


def epochs(
    session: Session, job_id: str, names: Sequence[str], from_epoch: int, most: int | None, part: Part | None = None
) -> list[Row]:
    """Read a job's epochs in order, each with the figures that `names` selects (none: all).

    Args:
        session: the caller's transaction.
        job_id: the job.
        names: names of series, or prefixes.
        from_epoch: the first epoch, 1-based, counted through both trainings.
        most: maximum number of epochs: the first, the last, as many extremes of each series as fit, and others at even
            intervals.
        part: whose epochs; None: all.

    Raises:
        NotFound: there is no such job.
    """
    spec = jobs.get(session, job_id).spec
    wanted = select(JobEpoch).where(JobEpoch.job_id == job_id, JobEpoch.epoch >= from_epoch).order_by(JobEpoch.epoch)
    found = [(row, place_in(spec, row.epoch)) for row in session.scalars(wanted)]
    rows = [
        _chosen({"attempt": row.attempt} | row.values | place._asdict(), names)
        for row, place in found
        if part in (None, place.part)
    ]
    if most is None or len(rows) <= most:
        return rows
    return [rows[index] for index in sample(len(rows), _by_name(rows).values(), most)]


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Turn rows into columns: `HEADS` and each series; null where an epoch has no value."""
    heads = {name: [row[name] for row in rows] for name in HEADS}
    return heads | _by_name(rows)


def sample(count: int, series: Iterable[Sequence[float | None]], most: int) -> list[int]:
    """Choose `most` of `count` indices (2 <= most < count): the ends, the extremes of each series, others evenly.

    >>> sample(9, [[0, 0, 0, 5, 0, 0, -5, 0, 0]], 4), sample(9, [], 3)
    ([0, 3, 6, 8], [0, 4, 8])
    """
    kept = {0, count - 1}
    for values in series:
        known = {index: value for index, value in enumerate(values) if value is not None and math.isfinite(value)}
        for extreme in (max, min):
            if known and len(kept) < most:
                kept.add(extreme(known, key=known.__getitem__))
    others = [index for index in range(count) if index not in kept]
    room = most - len(kept)
    kept |= {others[(2 * place + 1) * len(others) // (2 * room)] for place in range(room)}
    return sorted(kept)


def _chosen(row: Row, names: Sequence[str]) -> Row:
    """Keep the requested figures of an epoch, and its number."""
    if not names:
        return row
    kept: Row = {name: row[name] for name in (*HEADS, "epochs", "part_epochs") if name in row}
    for group in GROUPS:
        figures = {name: value for name, value in row.get(group, {}).items() if _asked(f"{group}/{name}", names)}
        kept |= {group: figures} if figures else {}
    return kept | {name: row[name] for name in SINGLES if name in row and name in names}


def _asked(series: str, names: Sequence[str]) -> bool:
    return any(series == name or series.startswith(f"{name}/") for name in names)


def _by_name(rows: Sequence[Row]) -> dict[str, list[Any]]:
    found = [dict(_series(row)) for row in rows]
    names = dict.fromkeys(name for flat in found for name in flat)
    return {name: [flat.get(name) for flat in found] for name in sorted(names, key=_place)}


def _series(row: Row) -> Iterator[tuple[str, Any]]:
    for group in GROUPS:
        for name, value in row.get(group, {}).items():
            yield f"{group}/{name}", value
    for name in SINGLES:
        if name in row:
            yield name, row[name]


def _place(name: str) -> int:
    return (*GROUPS, *SINGLES).index(name.partition("/")[0])
