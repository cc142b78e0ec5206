"""Events as the API shows them."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from api.jobs.events.service import Type
from api.tables.events import JobEvent
from api.timestamps import Timestamp

DATA = (
    "by type: `status`: from, to, worker, reason (null if there is none); `resolved`: empty, see the job; "
    "`epoch`: epoch, epochs, losses, metrics in percent, lr; `checkpoint`: epoch, is_best, metrics, files with name, "
    "size and sha256; `artifact`: epoch, name, size, sha256; `warning`: code, message, epoch; with an "
    "epoch also its `part`, `part_epoch` and `part_epochs`, as in a job"
)


class EventView(BaseModel):
    """An event of a job."""

    model_config = ConfigDict(from_attributes=True)

    seq: int = Field(
        description="sequence number within the job: 1, 2, ... without gaps; the `id` in a stream", examples=[7]
    )
    type: Type
    attempt: int = Field(description="attempt of the job; 0 before a worker has claimed it")
    at: Timestamp
    data: dict[str, Any] = Field(description=DATA)


class EventPage(BaseModel):
    """One page of a job's events, oldest first."""

    data: list[EventView]
    has_more: bool
    next: int | None = Field(None, description="value of `after` for the next page; null on the last page")

    @classmethod
    def of(cls, rows: list[JobEvent], limit: int) -> Self:
        """Show at most `limit` of the rows; an additional row means that there is another page."""
        shown = [EventView.model_validate(row) for row in rows[:limit]]
        more = len(rows) > limit
        return cls(data=shown, has_more=more, next=shown[-1].seq if more else None)
