"""Wait for the service's checks of uploads, and refuse those that the checks have refused."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rdrkd.errors import Problem, SpecError
from rdrkd.figures import counted

if TYPE_CHECKING:
    from rdrkd.client import Client, Dataset, Model

_CHECK_SECONDS = 120.0  # longest wait for the check of an upload; then the job is queued without its facts
_MOST_PROBLEMS = 10  # of one upload that are shown


class Uploaded(NamedTuple):
    """A dataset or model of the service, and the option that names it."""

    option: str
    text: str  # the option's value: a file, an id or a name
    id: str


def reports_on(
    uploads: Iterable[Uploaded], service: "Client", tell: Callable[[str], None]
) -> dict[str, Mapping[str, Any]]:
    """Wait for the checks of uploads, and return their reports by option; empty if no worker checks one in time.

    Raises:
        SpecError: a check has refused an upload; it has the problems of all of them.
    """
    rows = [(upload, _checked(upload.id, service, tell)) for upload in uploads]
    problems = [problem for upload, row in rows for problem in _problems(upload, row)]
    if problems:
        raise SpecError(f"refused because of {counted(len(problems), 'problem')} that the check found", problems)
    return {upload.option: row.report or {} for upload, row in rows}


def _checked(id_: str, service: "Client", tell: Callable[[str], None]) -> "Dataset | Model":
    """Return an upload after its check; as it is if the check takes too long."""
    from rdrkd.client import NotEnded

    is_dataset = id_.startswith("ds_")
    row: Dataset | Model = service.dataset(id_) if is_dataset else service.model(id_)
    if row.ended:
        return row
    tell(f"{id_}: waiting for its check ...")
    try:
        return service.wait_dataset(id_, _CHECK_SECONDS) if is_dataset else service.wait_model(id_, _CHECK_SECONDS)
    except NotEnded:
        return row


def _problems(upload: Uploaded, row: "Dataset | Model") -> Iterator[Problem]:
    if row.status != "invalid":
        return
    for problem in row.problems[:_MOST_PROBLEMS]:
        place = f"{problem['where']}: " if problem.get("where") else ""
        yield Problem(upload.option, f"{upload.text}: {place}{problem['detail']}")
    if (more := len(row.problems) - _MOST_PROBLEMS) > 0:
        yield Problem(upload.option, f"{upload.text}: and {counted(more, 'other problem')}")
    if not row.problems:
        yield Problem(upload.option, f"{upload.text}: the service's check has refused it")
