"""Files that go with their rows: for certain, and never one that a row names."""

import io

import pytest

from api.errors import Unavailable
from api.reaper import Reaper
from api.storage import deletions
from tests.api.conftest import Service


def note(service: Service, key: str) -> list[str]:
    with service.database.transaction() as session:
        return deletions.note(session, [key, key])


def test_a_noted_file_goes_once_nothing_names_it(each_service: Service) -> None:
    stored = each_service.storage.put(io.BytesIO(b"alone"), ".zip")
    [number] = note(each_service, stored.key)

    for _ in range(2):  # whoever comes second finds nothing to do
        deletions.follow(each_service.database, each_service.storage, number)

    assert each_service.files() == []


def test_a_file_that_a_row_names_by_then_stays(each_service: Service) -> None:
    each_service.upload()
    [key] = each_service.files()
    [number] = note(each_service, key)

    deletions.follow(each_service.database, each_service.storage, number)

    assert each_service.files() == [key]
    with each_service.database.transaction() as session:
        assert deletions.waiting(session) == []


def test_what_a_crash_leaves_the_reaper_removes(each_service: Service) -> None:
    stored = each_service.storage.put(io.BytesIO(b"left"), ".pt")
    note(each_service, stored.key)
    reaper = Reaper(each_service.app.state.settings)

    reaper.sweep()

    assert each_service.files() == []
    reaper.database.engine.dispose()


def test_a_note_that_is_rolled_back_removes_nothing(each_service: Service) -> None:
    stored = each_service.storage.put(io.BytesIO(b"kept"), ".pt")
    with each_service.database.transaction() as session:
        deletions.note(session, [stored.key])
        session.rollback()

    with each_service.database.transaction() as session:
        assert deletions.waiting(session) == []
    assert each_service.files() == [stored.key]


def test_an_upload_whose_file_was_removed_in_that_moment_is_refused(each_service: Service) -> None:
    stored = each_service.storage.put(io.BytesIO(b"x"), ".zip")
    each_service.storage.delete(stored.key)

    with pytest.raises(Unavailable, match="just been removed"), each_service.database.transaction() as session:
        deletions.hold(session, each_service.storage, stored.key)
