import json
import threading
from pathlib import Path

import pytest
from sqlalchemy import update

from api.db import after_seconds
from api.jobs import upload_checks
from api.tables.datasets import Dataset
from api.tables.leases import Fenced
from api.tables.models import Model
from api.tables.uploads import UploadStatus
from api.uploads.datasets import album
from api.uploads.datasets.reading import Words
from rdrkd import bounded_cache
from tests.api.uploads.ledger.sending import small_disk
from tests.rdrkd.data.crafted import make_dataset, make_image, zip_up
from tests.worker.conftest import TRAINER, Rows, until
from worker import inputs, inspection, previews
from worker.lease import Lease
from worker.workplace import Workplace


def claim(place: Workplace) -> upload_checks.Check:
    with place.database.transaction() as session:
        check = upload_checks.claim(session, place.name, place.settings.lease_seconds)
    assert check is not None
    return check


@pytest.fixture
def place(place: Workplace) -> Workplace:
    limits = {"inspect_timeout_seconds": 3, "inspect_memory_bytes": 2**28, "inspect_file_bytes": 2**20}
    settings = place.settings.model_copy(update=limits)
    return Workplace(settings, place.database, place.storage, place.doorbell, place.name)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("good", None),
        ("bad", "expected a class id below 3, got 7"),
        ("crash", "IndexError: something nobody thought of in file.py"),
        ("hungry", "MemoryError"),
        ("verbose", "File too large"),
        ("sleep", "took too long"),
    ],
)
def test_a_check_ends_with_a_verdict(place: Workplace, rows: Rows, content: str, detail: str | None) -> None:
    row_id = rows.upload(content.encode())
    inspection.run(place, claim(place), TRAINER)
    row = rows.get(row_id)
    assert row.lease_until is None
    assert row.checked_at is not None
    if detail is None:
        assert (row.status, row.problems) == (UploadStatus.READY, [])
        assert row.report["size"] == 4
    else:
        assert row.status == UploadStatus.INVALID
        assert detail in row.problems[0]["detail"]
        assert str(place.settings.data_dir) not in json.dumps(row.problems)
    assert [path.name for path in place.folder(row_id, 1).iterdir()] == ["trainer.log"]


def test_a_refused_file_is_not_kept_unless_another_upload_is_it(place: Workplace, rows: Rows) -> None:
    first, second = rows.upload(b"bad"), rows.upload(b"bad")
    path = place.storage.path(rows.get(first).key)
    inspection.run(place, claim(place), TRAINER)
    assert path.exists()  # the second upload is still to be checked
    inspection.run(place, claim(place), TRAINER)
    assert rows.get(second).status == UploadStatus.INVALID
    assert not path.exists()
    kept = rows.upload(b"good")
    inspection.run(place, claim(place), TRAINER)
    assert place.storage.path(rows.get(kept).key).exists()


def test_a_file_that_is_not_what_was_uploaded_is_invalid(place: Workplace, rows: Rows) -> None:
    row_id = rows.upload(b"good")
    place.storage.path(rows.get(row_id).key).write_text("evil")
    inspection.run(place, claim(place), TRAINER)
    assert rows.get(row_id).status == UploadStatus.INVALID


def test_oldest_first_and_both_kinds(place: Workplace, rows: Rows) -> None:
    uploads = [rows.upload(b"1"), rows.upload(b"2"), rows.upload(b"3", table=Model)]
    assert [claim(place).id for _ in uploads] == uploads


def test_a_check_that_is_killed_condemns_the_file_only_in_the_end(place: Workplace, rows: Rows) -> None:
    row_id = rows.upload(b"killed")
    for attempt in (1, 2):
        inspection.run(place, claim(place), TRAINER)
        row = rows.get(row_id)
        assert (row.status, row.attempt, row.lease_until) == (UploadStatus.CHECKING, attempt, None)
    inspection.run(place, claim(place), TRAINER)
    assert rows.get(row_id).status == UploadStatus.INVALID
    assert "was killed" in rows.get(row_id).problems[0]["detail"]


def test_a_drained_worker_gives_the_check_back(place: Workplace, rows: Rows) -> None:
    row_id = rows.upload(b"sleep")
    check = claim(place)
    thread = threading.Thread(target=inspection.run, args=(place, check, TRAINER))
    thread.start()
    until((place.folder(row_id, 1) / "trainer.log").exists)
    place.draining.set()
    thread.join(20)
    row = rows.get(row_id)
    assert (row.status, row.lease_until, row.lost_workers) == (UploadStatus.CHECKING, None, 0)
    assert claim(place).attempt == 2


def test_lost_checkers_are_counted_and_fenced(place: Workplace, rows: Rows) -> None:
    row_id = rows.upload(b"good")
    for lost in (1, 2, 3):
        check = claim(place)
        with place.database.transaction() as session:
            session.execute(update(Dataset).values(lease_until=after_seconds(-1)).where(Dataset.id == row_id))
            upload_checks.expire(session, max_lost_workers=2)
        with pytest.raises(Fenced), place.database.transaction() as session:
            upload_checks.settle(session, check, {}, [])
        assert rows.get(row_id).lost_workers == lost
    assert rows.get(row_id).status == UploadStatus.INVALID
    assert "lost its worker" in rows.get(row_id).problems[0]["detail"]


def test_a_real_file_is_refused_by_the_real_inspection(place: Workplace, rows: Rows, tmp_path: Path) -> None:
    limits = {"inspect_timeout_seconds": 60, "inspect_memory_bytes": 2**33}
    settings = place.settings.model_copy(update=limits)
    real = Workplace(settings, place.database, place.storage, place.doorbell, place.name)
    row_id = rows.upload(b"this is no zip at all")
    inspection.run(real, claim(real))
    row = rows.get(row_id)
    assert row.status == UploadStatus.INVALID
    assert row.problems
    assert "Traceback" not in json.dumps(row.problems)


def test_a_refusal_names_the_users_file_and_never_the_stores(place: Workplace, rows: Rows) -> None:
    limits = {"inspect_timeout_seconds": 60, "inspect_memory_bytes": 2**33}
    settings = place.settings.model_copy(update=limits)
    real = Workplace(settings, place.database, place.storage, place.doorbell, place.name)
    row_id = rows.upload(b"version https://git-lfs.github.com/spec/v1\nsize 5\n", table=Model)
    with place.database.transaction() as session:
        session.execute(update(Model).where(Model.id == row_id).values(filename="--best of May.pt"))
    inspection.run(real, claim(real))
    (problem,) = rows.get(row_id).problems
    assert problem["where"] == "--best of May.pt"
    assert "got a Git LFS pointer to a file of 5 bytes" in problem["detail"]


@pytest.fixture
def real(place: Workplace) -> Workplace:
    """A workplace whose limits a real inspection keeps to."""
    limits = {"inspect_timeout_seconds": 60, "inspect_memory_bytes": 2**33}
    settings = place.settings.model_copy(update=limits)
    return Workplace(settings, place.database, place.storage, place.doorbell, place.name)


def test_a_sound_dataset_gets_a_preview(real: Workplace, rows: Rows, tmp_path: Path) -> None:
    row_id = rows.upload(zip_up(make_dataset(tmp_path / "d"), tmp_path / "a.zip").read_bytes())
    inspection.run(real, claim(real))
    row = rows.get(row_id)
    assert (row.status, row.report["format"]) == (UploadStatus.READY, "yolo")
    assert real.storage.verify(row.preview_key, row.preview_sha256)
    assert real.storage.path(row.preview_key).read_bytes().startswith(b"\xff\xd8\xff")
    assert [path.name for path in bounded_cache.names(real.cache)] == [row.sha256]
    pictures = real.storage.path(row.album_key).read_bytes()
    with real.database.transaction() as session:
        index = album.of(session, row_id)[1]
    assert {image.split for image in index.images} == {"train", "val"}
    assert [image.boxes != [] for image in index.images] == [True, True]
    assert row.preview_size == len(pictures) + real.storage.path(row.preview_key).stat().st_size
    for offset in index.offsets()[:-1]:
        assert pictures[offset : offset + 3] == b"\xff\xd8\xff"


PIECE = b"\xff\xd8\xffx"
IMAGE = {"split": "val", "name": "a", "bytes": 4, "width": 1, "height": 1, "boxes": [], "ignored": [], "more": 0}


@pytest.mark.parametrize(
    ("pictures", "index"),
    [
        (PIECE, None),
        (PIECE, "{"),
        (PIECE, {"images": []}),
        (PIECE, {"images": [IMAGE, IMAGE]}),
        (b"<svg", {"images": [IMAGE]}),
        (PIECE + b"<svg", {"images": [IMAGE, IMAGE]}),
        (PIECE, {"images": [IMAGE | {"boxes": [[0, 0, 0, "x", 1]]}]}),
        (PIECE, {"images": [IMAGE | {"split": "../.."}]}),
        (PIECE, {"images": [IMAGE] * 1000}),
    ],
    ids=range(9),
)
def test_what_is_no_album_is_not_kept(
    real: Workplace, rows: Rows, tmp_path: Path, pictures: bytes, index: object
) -> None:
    rows.upload(b"images")
    check = claim(real)
    (tmp_path / previews.PICTURES).write_bytes(pictures)
    if index is not None:
        (tmp_path / previews.DESCRIBED).write_text(index if isinstance(index, str) else json.dumps(index))
    assert previews.keep_album(real.storage, check, tmp_path) is None
    assert not (real.storage.root / "previews").exists()


@pytest.mark.slow
def test_a_lenient_check_leaves_out_what_is_at_fault(real: Workplace, rows: Rows, tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "d")
    make_image(made / "images/train/b.png", seed=7)
    (made / "labels/train/b.txt").write_text("0 0.5 0.5 0.25 0.5\n9 0.5 0.5 0.25 0.5\n")
    content = zip_up(made, tmp_path / "a.zip").read_bytes()
    strict, lenient = rows.upload(content), rows.upload(content, lenient=True)
    for _ in range(2):
        inspection.run(real, claim(real))
    assert rows.get(strict).status == UploadStatus.INVALID
    assert rows.get(strict).preview_key is None
    row = rows.get(lenient)
    assert (row.status, row.report["dropped"]["counts"]) == (UploadStatus.READY, {"lines": 1, "images": 1})
    needed = inputs.Input("dataset", row.id, row.key, row.sha256, Words.of(row))
    options = inputs.arguments(real.storage, [needed], tmp_path)
    assert options == ["--dataset", str(real.storage.local(row.key)), "--lenient"]


def test_what_came_too_late_leaves_no_preview(real: Workplace, rows: Rows, tmp_path: Path) -> None:
    row_id = rows.upload(zip_up(make_dataset(tmp_path / "d"), tmp_path / "a.zip").read_bytes())
    check = claim(real)
    with real.database.transaction() as session:  # another worker has it by now
        session.execute(update(Dataset).values(attempt=Dataset.attempt + 1).where(Dataset.id == row_id))
    folder = real.folder(row_id, check.attempt)
    folder.mkdir(parents=True)
    (folder / previews.NAME).write_bytes(b"\xff\xd8\xff")
    (folder / previews.ALBUM).mkdir()
    (folder / previews.ALBUM / previews.PICTURES).write_bytes(PIECE)
    (folder / previews.ALBUM / previews.DESCRIBED).write_text(json.dumps({"images": [IMAGE]}))
    with Lease(real, lambda session, seconds: None, 60) as lease, pytest.raises(Fenced):
        inspection._settle(real, check, lease, {}, [])
    assert not (real.storage.root / "previews" / row_id).exists()


@pytest.mark.parametrize("fault", ["no picture", "too large", "a link"])
def test_what_is_no_picture_is_not_kept(real: Workplace, rows: Rows, tmp_path: Path, fault: str) -> None:
    rows.upload(b"images")
    check, file = claim(real), tmp_path / previews.NAME
    match fault:
        case "no picture":
            file.write_bytes(b"<html>")
        case "too large":
            file.write_bytes(b"\xff\xd8\xff" + bytes(previews.MOST_BYTES))
        case "a link":
            (tmp_path / "elsewhere").write_bytes(b"\xff\xd8\xff")
            file.symlink_to(tmp_path / "elsewhere")
    assert previews.keep(real.storage, check, file) is None


def test_the_check_of_a_model_leaves_it_in_the_other_format(place: Workplace, rows: Rows) -> None:
    row_id = rows.upload(b"good", table=Model)
    inspection.run(place, claim(place), TRAINER)
    with place.database.transaction() as session:
        (file,) = session.get_one(Model, row_id).files
        assert (file.format, file.size) == ("safetensors", len("converted"))
        assert place.storage.path(file.key).read_text() == "converted"
        assert place.storage.verify(file.key, file.sha256)


def test_a_refused_model_leaves_no_other_format(place: Workplace, rows: Rows) -> None:
    row_id = rows.upload(b"bad", table=Model)
    inspection.run(place, claim(place), TRAINER)
    assert rows.get(row_id).files == []


def test_what_a_fenced_check_has_written_does_not_stay(place: Workplace, rows: Rows) -> None:
    row_id = rows.upload(b"good", table=Model)
    mine = claim(place)
    with place.database.transaction() as session:  # another worker has taken it in the meantime
        session.execute(update(Model).where(Model.id == row_id).values(attempt=Model.attempt + 1))
    inspection.run(place, mine, TRAINER)
    assert rows.get(row_id).files == []
    left = [path.name for path in (place.storage.root / "uploads").iterdir()]
    assert [name for name in left if name.endswith(".safetensors")] == []


@pytest.mark.slow
def test_a_check_without_room_to_unpack_waits_and_refuses_nothing(place: Workplace, rows: Rows, tmp_path: Path) -> None:
    archive = zip_up(make_dataset(tmp_path / "d"), tmp_path / "d.zip")
    row_id = rows.upload(archive.read_bytes())
    limits = {"inspect_timeout_seconds": 300, "inspect_memory_bytes": 2**33, "inspect_file_bytes": 2**30}
    settings = place.settings.model_copy(update=limits)
    real = Workplace(settings, place.database, place.storage, place.doorbell, place.name)
    with small_disk(real.cache, 1):
        (real.cache / "foreign").write_bytes(bytes(2**20 - 2**14))
        inspection.run(real, claim(real))
        row = rows.get(row_id)
        assert (row.status, row.lease_until, row.problems) == (UploadStatus.CHECKING, None, [])
    inspection.run(real, claim(real))
    assert rows.get(row_id).status == UploadStatus.READY
