"""Metrics as the API shows them."""

import csv
import io
from typing import Any

from pydantic import BaseModel, Field

ROWS = (
    "rows: of each epoch its `part` (`student`, or `alone`: the baseline, whose epochs follow), its number there "
    "(`part_epoch` of `part_epochs`) and in all (`epoch` of `epochs`), loss terms (unweighted) and their weights, "
    "diagnostics, lr, metrics in percent, seconds"
)
COLUMNS = (
    "columns: `epoch`, `attempt`, `part`, `part_epoch` and each series by name, such as `losses/decoupled`; null "
    "without a value"
)


class JobMetrics(BaseModel):
    """The finished epochs of a job, in order."""

    data: list[dict[str, Any]] | dict[str, list[Any]] = Field(description=f"{ROWS}; {COLUMNS}")


def as_csv(columns: dict[str, list[Any]]) -> str:
    """Write columns as CSV with a header; missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
