"""Names of the metrics, and how metrics, durations and sizes are written for people."""

from collections.abc import Mapping, Sequence
from typing import Any

PROTOCOLS = {
    "coco": "COCO protocol, maxDets 100",
    "coco_maxdets500": "COCO protocol, maxDets 500",
}
FIGURES = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
_FEW = 12  # names to list
OWN = ("mAP50_95", "mAP50", "precision", "recall")


def duration(seconds: float) -> str:
    """Write a duration for people.

    >>> duration(42.4), duration(192), duration(7260)
    ('42 s', '3 min 12 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Return a number of bytes for people.

    >>> size(0), size(1536), size(5 * 2**40)
    ('0 B', '1.5 KiB', '5.0 TiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number of things, in the singular or the plural, by default with an `s`.

    >>> counted(1, "field"), counted(2, "field"), counted(2, "class", "classes")
    ('1 field', '2 fields', '2 classes')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def few(names: Sequence[str]) -> str:
    """Return a list of names as text, the first dozen and a count if there are more.

    >>> few(["car", "boat"]), few([str(number) for number in range(14)])[-16:]
    ("['car', 'boat']", "'11'] and 2 more")
    """
    first = list(names[:_FEW])
    return str(first) if len(names) <= _FEW else f"{first} and {len(names) - _FEW} more"


def latency(measured: Mapping[str, Any] | None) -> str:
    """Write the milliseconds of one image with their spread, so that noise does not read as a difference.

    >>> latency({"median_ms": 14.16, "q1_ms": 12.976, "q3_ms": 14.483}), latency(None)
    ('14.2 (13.0-14.5)', '-')
    """
    if measured is None:
        return "-"
    return "{median_ms:.1f} ({q1_ms:.1f}-{q3_ms:.1f})".format_map(measured)


def percent(value: float | None) -> str:
    """Write a figure that is in percent already; a dash where there was nothing to find.

    >>> percent(18.84), percent(None)
    ('18.8', '-')
    """
    return "-" if value is None else f"{value:.1f}"
