"""Endpoints of API keys; they require the scope `admin`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.access import keys
from api.access.keys_schemas import KeyRequest, KeyView, NewKeyView
from api.errors import CrossSite, Invalid, NotFound
from api.http.dependencies import OF_JSON, SettingsDep, Work, json_only, refusals
from api.http.routing import Route
from api.pagination import After, Limit, Page
from api.settings import has_token

router = APIRouter(prefix="/api-keys", tags=["access"], route_class=Route)


@router.post(
    "",
    status_code=201,
    operation_id="create_api_key",
    dependencies=[Depends(json_only)],
    responses=refusals(*OF_JSON, Invalid),
)
def create_api_key(request: KeyRequest, work: Work, settings: SettingsDep, response: Response) -> NewKeyView:
    """Create an API key. The response contains it, once: the service stores only a hash.

    Without a token the first key must have the scope `admin`: any key closes the service to callers without one.
    """
    keys.check_first(work.session, request, has_token(settings))
    row, key = keys.create(work.session, request)
    response.headers["Location"] = f"/v1/api-keys/{row.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewKeyView.of(row, key=key)


@router.get("", operation_id="list_api_keys", responses=refusals(Invalid))
def list_api_keys(
    work: Work, limit: Annotated[Limit, Query()] = 20, after: Annotated[After, Query()] = None
) -> Page[KeyView]:
    """List API keys, newest first, including expired and revoked ones."""
    rows, following = keys.newest(work.session, limit, after)
    return Page(data=[KeyView.of(row) for row in rows], has_more=following is not None, next=following)


@router.get("/{key_id}", operation_id="get_api_key", responses=refusals(NotFound))
def get_api_key(key_id: str, work: Work) -> KeyView:
    """Return an API key: its owner, and when it was last used."""
    return KeyView.of(keys.get(work.session, key_id))


@router.delete("/{key_id}", operation_id="revoke_api_key", responses=refusals(CrossSite, NotFound))
def revoke_api_key(key_id: str, work: Work) -> KeyView:
    """Revoke an API key: within three seconds no process of the service accepts it.

    Revoking it again has no effect.
    """
    return KeyView.of(keys.revoke(work.session, key_id))
