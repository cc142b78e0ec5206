"""Endpoint of the audit log; it requires the scope `admin`."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.access import audit
from api.access.audit_schemas import AuditView
from api.errors import Invalid
from api.http.dependencies import Work, refusals
from api.http.routing import Route
from api.pagination import After, Limit, Page
from rdrkd.spec.forms import form

router = APIRouter(prefix="/audit", tags=["access"], route_class=Route)

WORD = form(r"^[A-Za-z0-9_.@-]{1,100}$", "1 to 100 letters, digits, `_`, `.`, `@` and `-`")
Word = Annotated[str | None, Query(pattern=WORD)]


@router.get("", operation_id="list_audit", responses=refusals(Invalid))
def list_audit(
    work: Work,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[After, Query()] = None,
    key: Word = None,
    owner: Word = None,
    action: Word = None,
    object: Word = None,
) -> Page[AuditView]:
    """List the audit log, newest first: every request that changed something and was accepted."""
    rows, following = audit.newest(work.session, limit, after, key=key, owner=owner, action=action, object=object)
    data = [AuditView.model_validate(row) for row in rows]
    return Page(data=data, has_more=following is not None, next=following)
