"""The worker's part of an import, in this process."""

from typing import Any

from api.jobs import upload_checks
from api.jobs.upload_checks import Import
from tests.api.conftest import Service
from worker import importing
from worker.workplace import Workplace


def workplace(service: Service, **settings: Any) -> Workplace:
    """Return a worker's place on a service's rows and files."""
    state = service.app.state
    changed = state.settings.model_copy(update=settings)
    return Workplace(changed, service.database, service.storage, state.doorbell, "worker-1")


def claim(service: Service, lease_seconds: float = 60) -> Import:
    """Claim the oldest import."""
    with service.database.transaction() as session:
        claimed = upload_checks.claim(session, "worker-1", lease_seconds)
    assert isinstance(claimed, Import)
    return claimed


def arrive(service: Service, **settings: Any) -> dict[str, Any]:
    """Copy the oldest import as a worker does, and free it for its check; give its view.

    What has arrived is held back from `claim` by a lease: its check is nobody's here.
    """
    claimed = claim(service)
    importing.run(workplace(service, **settings), claimed)
    view = service.client.get(f"/v1/datasets/{claimed.id}").json()
    if view["sha256"] is not None:
        with service.database.transaction() as session:
            upload_checks.claim(session, "a checker", 60)
    return view
