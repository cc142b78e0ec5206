"""Templates, in which every value is escaped, and the format of figures: with their unit, or as a dash."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from api.console import static_files, words
from rdrkd import __version__
from rdrkd.figures import duration

DASH = "–"
WIDTH, HEIGHT = 120, 28  # px of a sparkline


def size(count: float | None) -> str:
    """Format a number of bytes.

    >>> size(4_210_000), size(999), size(None)
    ('4.2 MB', '999 B', '–')
    """
    if count is None:
        return DASH
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def percent(value: float | None) -> str:
    """Format a value that is in percent.

    >>> percent(18.84), percent(None)
    ('18.8 %', '–')
    """
    return DASH if value is None else f"{value:.1f} %"


def points(value: float | None) -> str:
    """Format a difference of two percentages.

    >>> points(1.26), points(-0.5), points(None)
    ('+1.3 pt', '−0.5 pt', '–')
    """
    return DASH if value is None else f"{value:+.1f} pt".replace("-", "−")


def seconds(value: float | None) -> str:
    """Format a duration.

    >>> seconds(192), seconds(None)
    ('3 min 12 s', '–')
    """
    return DASH if value is None else duration(value)


def number(value: float | None, digits: int = 3) -> str:
    """Format a value without a unit, with this number of significant digits.

    >>> number(0.0019412), number(20215), number(None)
    ('0.00194', '20215', '–')
    """
    if value is None:
        return DASH
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def moment(value: str | datetime | None) -> Markup | str:
    """Format a time in UTC; the page's script shows it in the reader's time zone."""
    if value is None:
        return DASH
    at = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M}")


def spark(values: Sequence[float | None]) -> str:
    """Return the points of a sparkline, for an SVG polyline.

    >>> spark([0.0, None, 10.0])
    '0.0,26.0 120.0,2.0'
    """
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    across, up = WIDTH / max(1, len(values) - 1), (HEIGHT - 4) / ((high - low) or 1.0)
    return " ".join(f"{place * across:.1f},{HEIGHT - 2 - (value - low) * up:.1f}" for place, value in known)


def prefixed(text: str, prefix: str) -> str:
    """Put a prefix before a text."""
    return prefix + text


def pretty(value: Any) -> str:
    """Format JSON with indentation."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def local(url: str) -> str:
    """Return the path of the page from which the reader came, without its host.

    >>> local("http://127.0.0.1:8000/jobs?status=failed"), local("javascript:alert(1)"), local("//x")
    ('/jobs?status=failed', '/', '/')
    """
    parts = urlsplit(url)
    path = parts.path if parts.path.startswith("/") and not parts.path.startswith("//") else "/"
    return path + (f"?{parts.query}" if parts.query else "")


def field_name(pointer: str) -> str:
    """Return the label of a form's field, given the JSON pointer of its value in a spec.

    >>> field_name("/train/epochs"), field_name("/distillation/losses/ld"), field_name("")
    ('epochs', 'distillation, losses, ld', 'the whole')
    """
    return ", ".join(part for part in pointer.removeprefix("/train/").split("/") if part) or "the whole"


PLACES = {"job": "jobs", "ds": "datasets", "mdl": "models", "stu": "studies"}


def linked(text: str) -> Markup:
    """Turn the ids in a text into links to their pages.

    >>> linked("waits for job_01a226babba47811bd8f715e8633b851 <now>")
    Markup('waits for <a href="/jobs/job_01a226babba47811bd8f715e8633b851">job_…33b851</a> &lt;now&gt;')
    """

    def link(id_: str) -> Markup:
        return Markup('<a href="/{}/{}">{}</a>').format(PLACES[id_.partition("_")[0]], id_, words.short(id_))

    pieces = re.split(rf"(\b{words.ID}\b)", text)  # every second piece is an id
    return Markup("").join(link(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def coded(text: str) -> Markup:
    """Turn what is between backticks into code, and the ids elsewhere into links.

    >>> coded("up to 64 of `_` and <b>")
    Markup('up to 64 of <code>_</code> and &lt;b&gt;')
    """
    pieces = re.split(r"`([^`]+)`", text)  # every second piece is code
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 2 else linked(piece) for place, piece in enumerate(pieces)
    )


ENVIRONMENT = Environment(
    loader=PackageLoader("api.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def setting(value: Any) -> str:
    """Write a setting's value as JSON does, with at most four significant digits.

    >>> setting(True), setting(0.0029567792717458364), setting(8), setting("SGD")
    ('true', '0.002957', '8', 'SGD')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


ENVIRONMENT.filters |= {
    "coded": coded,
    "field_name": field_name,
    "gist": words.gist,
    "linked": linked,
    "local": local,
    "moment": moment,
    "number": number,
    "percent": percent,
    "points": points,
    "prefixed": prefixed,
    "pretty": pretty,
    "seconds": seconds,
    "sentence": words.sentence,
    "setting": setting,
    "share": words.share_done,
    "short": lambda identity: words.short(identity or DASH),
    "size": size,
    "spark": spark,
    "title_of": words.title,
}
ENVIRONMENT.globals |= {"version": __version__, "asset": static_files.version, "words": words}
