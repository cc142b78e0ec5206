"""Addresses that refer to a resource by name or by a unique prefix of its id.

Paths with a complete id, as nearly all have, are not looked up.
"""

from functools import partial
from typing import Any

from fastapi import Request
from starlette.types import Scope

from api.errors import Ambiguous
from api.http.dependencies import Read, at_database, reading
from api.jobs.naming import meant
from api.pagination import is_id
from api.tables.datasets import Dataset
from api.tables.jobs import Job
from api.tables.keys import ApiKey
from api.tables.models import Model
from api.tables.studies import Study
from api.tables.webhooks import Webhook

TABLES: dict[str, Any] = {
    "job_id": Job, "dataset_id": Dataset, "model_id": Model, "study_id": Study, "webhook_id": Webhook, "key_id": ApiKey,
}  # fmt: skip


async def use_ids(scope: Scope) -> None:
    """Replace names in a request's path by ids; an unknown name is left, and later not found.

    Raises:
        Ambiguous: several have the name.
    """
    parameters: dict[str, str] = scope["path_params"]
    for parameter in TABLES.keys() & parameters.keys():
        if not is_id(text := parameters[parameter]):
            request = Request(scope)
            find = partial(_find, reading(request), TABLES[parameter], text)
            parameters[parameter] = await at_database(request, find, write=False)


def _find(read: Read, table: Any, text: str) -> str:
    with read() as session:
        found = meant(session, table, text)
    if len(found) > 1:
        raise Ambiguous(
            f"expected a name or the beginning of an id that only one {table.__tablename__} has, got {text!r}, "
            f"which {', '.join(found)} have"
        )
    return found[0] if found else text
