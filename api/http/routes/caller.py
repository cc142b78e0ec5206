"""Endpoint that tells callers who they are."""

from fastapi import APIRouter

from api.access.keys_schemas import CallerView
from api.http.dependencies import CallerDep, refusals

router = APIRouter(tags=["access"])


@router.get("/whoami", operation_id="get_caller", responses=refusals())
async def get_caller(caller: CallerDep) -> CallerView:
    """Return who the service takes the caller for: the key, its owner, and what its scope allows."""
    return CallerView(key=caller.key, owner=caller.owner, scope=caller.scope)
