"""Owners take turns at the checkers: whoever has a thousand uploads holds nobody up for more than one of them."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

from api.jobs import upload_checks
from api.settings import Settings
from api.tables.datasets import Dataset
from api.tables.models import Model
from tests.worker.conftest import Rows
from worker import check_limits
from worker.workplace import Workplace


@pytest.fixture
def upload(rows: Rows, place: Workplace) -> Callable[..., str]:
    def made(owner: str | None, table: type[Dataset] | type[Model] = Dataset) -> str:
        row_id = rows.upload(f"{owner} {id(object())}".encode(), table=table)
        with place.database.transaction() as session:
            session.execute(update(table).where(table.id == row_id).values(owner=owner))
        return row_id

    return made


def served(place: Workplace, number: int, settle: bool = True) -> list[str | None]:
    """Claim so many checks; return whose they were."""
    owners = []
    for _ in range(number):
        with place.database.transaction() as session:
            check = upload_checks.claim(session, place.name, 60)
            assert isinstance(check, upload_checks.Check)
            owners.append(session.get(check.table, check.id).owner)
        if settle:
            with place.database.transaction() as session:
                upload_checks.settle(session, check, {}, [])
    return owners


def test_one_checker_serves_owners_in_turn(place: Workplace, upload: Callable[..., str]) -> None:
    for owner in ["alice"] * 4 + ["bob"] * 2 + [None]:
        upload(owner)
    assert served(place, 7) == ["alice", "bob", None, "alice", "bob", "alice", "alice"]


def test_whoever_has_checks_running_goes_last(place: Workplace, upload: Callable[..., str]) -> None:
    for owner in ["alice"] * 5 + ["bob"] * 2:
        upload(owner)
    assert served(place, 5, settle=False) == ["alice", "bob", "alice", "bob", "alice"]
    upload("carol")
    assert served(place, 1, settle=False) == ["carol"]


def test_datasets_and_models_are_one_line(place: Workplace, upload: Callable[..., str]) -> None:
    for _ in range(4):
        upload("alice")
    upload("bob", Model)
    upload("alice", Model)
    assert served(place, 3) == ["alice", "bob", "alice"]


@pytest.mark.parametrize("size", [1, 2**20, 2**27, 2**31, 2**40])
def test_a_check_may_use_what_fits_its_file(size: int) -> None:
    settings = Settings()
    assert 180 <= check_limits.seconds(settings, size) <= settings.inspect_timeout_seconds
    assert 3 * 2**30 <= check_limits.memory_bytes(settings, size) <= settings.inspect_memory_bytes
    tight = settings.model_copy(update={"inspect_timeout_seconds": 5.0, "inspect_memory_bytes": 2**28})
    assert (check_limits.seconds(tight, size), check_limits.memory_bytes(tight, size)) == (
        5.0,
        2**28,
    )  # the ceilings hold
