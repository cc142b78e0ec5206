"""Endpoint of the ledger."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.access import quotas
from api.caller import Scope
from api.http.dependencies import CallerDep, SettingsDep, StorageDep, Work, caller_of, refusals, settings_of
from api.http.routing import Route
from api.settings import Settings
from api.storage import Storage
from api.uploads.datasets import unpacked
from api.uploads.ledger.schemas import CacheUsage, OwnerUsage, ServiceUsage, UsageView, Used
from api.uploads.ledger.service import unwritten_bytes
from rdrkd import bounded_cache
from rdrkd.bounded_cache import Bound

router = APIRouter(tags=["service"], route_class=Route)
MOST_OWNERS = 100


async def caches(request: Request) -> list[CacheUsage]:
    """Measure the caches of this machine, for an admin; not in a thread that holds a place at the database."""
    if caller_of(request).scope != Scope.ADMIN:
        return []
    return await run_in_threadpool(_measure, settings_of(request))


@router.get("/usage", operation_id="get_usage", responses=refusals())
def get_usage(
    work: Work,
    caller: CallerDep,
    settings: SettingsDep,
    store: StorageDep,
    caches: Annotated[list[CacheUsage], Depends(caches)],
) -> UsageView:
    """Return stored and reserved bytes against the quota; for an admin also by owner, disk and cache."""
    used = quotas.used_bytes(work.session, caller.owner)
    quota = settings.quota_storage_bytes or None
    return UsageView(
        owner=caller.owner,
        used=_used(used),
        quota_bytes=quota if caller.owner is not None else None,
        service=_service(work.session, settings, store, caches) if caller.scope == Scope.ADMIN else None,
    )


def _service(session: Session, settings: Settings, store: Storage, measured: list[CacheUsage]) -> ServiceUsage:
    found = quotas.used_by_all(session)
    owners = [OwnerUsage(owner=owner, used=_used(used)) for owner, used in found.items()]
    owners.sort(key=lambda each: -each.used.total)
    return ServiceUsage(
        owners=owners[:MOST_OWNERS],
        more_owners=max(0, len(owners) - MOST_OWNERS),
        free_bytes=store.free(),
        unwritten_bytes=unwritten_bytes(session, store),
        min_free_bytes=settings.min_free_bytes,
        caches=measured,
    )


def _used(used: dict[str, int]) -> Used:
    return Used(**used, total=sum(used.values()))


def _measure(settings: Settings) -> list[CacheUsage]:
    bounds = {
        "datasets": (settings.cache_dir, unpacked.bound_of(settings)),
        "objects": (settings.data_dir / "objects", Bound(settings.s3_cache_bytes)),
    }
    return [
        CacheUsage.model_validate({"name": name} | bounded_cache.measure(folder, bound))
        for name, (folder, bound) in bounds.items()
    ]
