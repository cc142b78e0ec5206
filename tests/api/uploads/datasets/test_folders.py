"""Datasets from folders of the service's machine: only from those that the operator allows, and nothing around them."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.errors import PathNotAllowed, UnusableReference
from api.jobs import upload_checks
from api.settings import Settings
from api.uploads.datasets import folders, packing
from rdrkd.run.inspection import inspect
from tests.api.conftest import Service, Start
from tests.api.uploads.datasets.arriving import arrive, claim
from tests.rdrkd.data.crafted import make_dataset

PATH = "/v1/datasets/from-folder"


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A folder that the operator allows, with a sound dataset in it."""
    made = make_dataset(tmp_path / "surveys/2026/hit-uav")
    (made / "train.cache").write_bytes(b"a pickle")
    (made / ".hidden.txt").write_text("x")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_text("secret")
    return tmp_path / "surveys"


@pytest.fixture
def service(start: Start, allowed: Path) -> Iterator[Service]:
    with start(dataset_folders=[allowed]) as running:
        yield running


def ask(service: Service, folder: str, **more: Any) -> Any:
    return service.client.post(PATH, json={"folder": folder} | more)


def test_a_folder_becomes_a_dataset(service: Service, tmp_path: Path) -> None:
    answer = ask(service, "surveys/2026/hit-uav", name="mine", lenient=True)
    view = answer.json()

    assert answer.status_code == 202
    assert answer.headers["Location"] == view["links"]["self"]
    assert (view["status"], view["filename"], view["version"], view["lenient"]) == ("checking", "hit-uav.tar", 1, True)
    assert (view["source"], view["sha256"]) == ("surveys/2026/hit-uav", None)
    assert service.files() == []  # that is a worker's work
    view = arrive(service)
    assert (view["status"], view["same_content_as"]) == ("checking", None)
    stored = service.storage.path(f"uploads/{view['sha256']}.tar")
    assert stored.stat().st_size == view["size"]
    with tarfile.open(stored) as opened:
        members = {member.name: (member.mtime, member.uid, member.uname) for member in opened}
    assert sorted(members) == [
        "data.yaml", "images/train/a.png", "images/val/a.png", "labels/train/a.txt", "labels/val/a.txt",
    ]  # fmt: skip
    assert set(members.values()) == {(0, 0, "")}
    assert inspect(stored, tmp_path / "cache")["ok"]


def test_the_same_content_is_the_same_file(service: Service, allowed: Path) -> None:
    for _ in range(2):
        ask(service, "surveys/2026/hit-uav", name="mine")
    os.utime(allowed / "2026/hit-uav/data.yaml", (1, 1))
    first, again = arrive(service), arrive(service)
    ask(service, "surveys/2026/hit-uav", name="mine")
    (allowed / "2026/hit-uav/labels/val/a.txt").write_text("1 .5 .5 .1 .1\n")
    changed = arrive(service)

    assert (again["sha256"], again["same_content_as"]) == (first["sha256"], first["id"])
    assert (changed["version"], changed["same_content_as"]) == (3, None)
    assert service.storage.verify(f"uploads/{first['sha256']}.tar", first["sha256"])  # it stays what it was


def test_on_each_database_a_worker_that_died_is_followed_by_another(each_service: Service, allowed: Path) -> None:
    state = each_service.app.state
    state.settings = state.settings.model_copy(update={"dataset_folders": [allowed]})
    ask(each_service, "surveys/2026/hit-uav", name="mine")
    assert 0 <= claim(each_service, lease_seconds=-1).waited_seconds < 60
    with each_service.database.transaction() as session:
        upload_checks.expire(session, 5)

    view = arrive(each_service)

    assert (view["status"], view["problems"], view["version"]) == ("checking", [], 1)
    assert each_service.files() == [f"uploads/{view['sha256']}.tar"]


def test_by_default_nothing_is_allowed(start: Start, allowed: Path) -> None:
    with start() as service:
        problem = ask(service, "surveys/2026/hit-uav").json()

    assert problem["code"] == "path_not_allowed"
    assert problem["errors"][0]["pointer"] == "/folder"


LEADING_OUT = (
    "secret", "/etc", "..", "surveys/..", "surveys/../secret", "surveys/2026/../../secret", "surveys//2026",
    "./surveys", "surveys/./2026", "surveys\\2026", "C:surveys", "surveys/2026\x00", "", "/", "//surveys",
)  # fmt: skip


@pytest.mark.parametrize("asked", LEADING_OUT)
def test_names_that_lead_out_are_refused(service: Service, asked: str) -> None:
    answer = ask(service, asked)

    assert answer.status_code == 422
    assert answer.json()["code"] in ("path_not_allowed", "invalid")
    assert service.files() == []


def test_an_absolute_path_is_refused_also_when_it_is_the_allowed_one(service: Service, allowed: Path) -> None:
    assert ask(service, str(allowed)).json()["code"] == "path_not_allowed"


@pytest.mark.parametrize("what", ["the folder", "a folder in it", "a file in it", "a file by way of another link"])
def test_links_that_lead_out_are_refused(service: Service, allowed: Path, tmp_path: Path, what: str) -> None:
    folder, asked = allowed / "2026/hit-uav", "surveys/2026/hit-uav"
    match what:
        case "the folder":
            (allowed / "other").symlink_to(tmp_path / "secret")
            asked = "surveys/other"
        case "a folder in it":
            (folder / "more").symlink_to(tmp_path / "secret")
        case "a file in it":
            (folder / "labels/val/b.txt").symlink_to(tmp_path / "secret/key.txt")
        case "a file by way of another link":
            (allowed / "link.txt").symlink_to(tmp_path / "secret/key.txt")
            (folder / "labels/val/b.txt").symlink_to(allowed / "link.txt")

    answer = ask(service, asked)

    assert (answer.status_code, answer.json()["code"]) == (422, "path_not_allowed")
    assert str(tmp_path) not in answer.text
    assert service.files() == []


def test_links_to_files_of_the_allowed_folder_are_followed(service: Service, allowed: Path) -> None:
    (allowed / "shared.txt").write_text("0 .5 .5 .1 .1\n")
    (allowed / "2026/hit-uav/labels/val/b.txt").symlink_to(allowed / "shared.txt")

    ask(service, "surveys/2026/hit-uav")

    view = arrive(service)
    with tarfile.open(service.storage.path(f"uploads/{view['sha256']}.tar")) as opened:
        file = opened.extractfile("labels/val/b.txt")
        assert file is not None
        assert file.read() == b"0 .5 .5 .1 .1\n"


def test_a_link_that_comes_between_look_and_copy_is_refused(service: Service, allowed: Path, tmp_path: Path) -> None:
    source = folders.look(service.app.state.settings, "surveys/2026/hit-uav")
    (allowed / "2026/hit-uav/labels/val/a.txt").unlink()
    (allowed / "2026/hit-uav/labels/val/a.txt").symlink_to(tmp_path / "secret/key.txt")

    with service.storage.incoming() as incoming, pytest.raises(PathNotAllowed):
        source.copy(incoming, 2**30)


def test_a_link_that_comes_between_request_and_copy_is_refused(service: Service, allowed: Path, tmp_path: Path) -> None:
    ask(service, "surveys/2026/hit-uav")
    (allowed / "2026/hit-uav/labels/val/b.txt").symlink_to(tmp_path / "secret/key.txt")

    view = arrive(service)

    assert (view["status"], view["sha256"]) == ("invalid", None)
    assert view["problems"] == [
        {
            "where": "surveys/2026/hit-uav",
            "detail": "expected no link out of the allowed folder, got one at labels/val/b.txt",
        }
    ]
    assert service.files() == []


@pytest.mark.parametrize("target", ["nothing.txt", "b.txt"])
def test_a_link_to_nothing_is_told(service: Service, allowed: Path, target: str) -> None:
    (allowed / "2026/hit-uav/labels/val/b.txt").symlink_to(target)

    problem = ask(service, "surveys/2026/hit-uav").json()

    assert (problem["code"], problem["errors"][0]["pointer"]) == ("unknown_reference", "/folder")


def test_a_file_that_is_cut_short_while_it_is_copied_is_refused(service: Service) -> None:
    with (
        service.storage.incoming() as incoming,
        pytest.raises(UnusableReference),
        packing.new_tar(incoming, 2**30) as tar,
    ):
        packing.add(tar, "a.txt", 6, io.BytesIO(b"short"))


def test_what_is_no_regular_file_is_refused(service: Service, allowed: Path) -> None:
    os.mkfifo(allowed / "2026/hit-uav/labels/val/b.txt")
    ask(service, "surveys/2026/hit-uav")

    assert "expected regular files" in arrive(service)["problems"][0]["detail"]
    assert service.files() == []


@pytest.mark.parametrize("asked", ["surveys/2027", "surveys/2026/hit-uav/data.yaml", "surveys/empty"])
def test_what_is_not_there_is_an_unknown_reference(service: Service, allowed: Path, asked: str) -> None:
    (allowed / "empty").mkdir()

    assert ask(service, asked).json()["code"] == "unknown_reference"


def test_too_much_is_refused(start: Start, allowed: Path) -> None:
    (allowed / "2026/hit-uav/labels/val/b.txt").write_bytes(bytes(5000))
    with start(dataset_folders=[allowed], max_dataset_bytes=4000) as service:
        answer = ask(service, "surveys/2026/hit-uav")

        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert service.files() == []


def test_an_owners_quota_holds(start: Start, allowed: Path) -> None:
    with start(dataset_folders=[allowed], quota_storage_bytes=100) as service:
        alice = service.key("alice")
        answer = service.client.post(PATH, json={"folder": "surveys/2026/hit-uav"}, headers=alice)

        assert answer.json()["code"] == "quota_exceeded"
        assert service.files() == []


def test_a_key_that_may_only_read_takes_none(service: Service) -> None:
    reader = service.key("alice", "read")

    answer = service.client.post(PATH, json={"folder": "surveys/2026/hit-uav"}, headers=reader)

    assert answer.json()["code"] == "insufficient_scope"


def test_sent_again_it_is_answered_alike(service: Service) -> None:
    request = {"json": {"folder": "surveys/2026/hit-uav"}, "headers": {"Idempotency-Key": "once"}}
    first, again = (service.client.post(PATH, **request) for _ in range(2))

    assert first.json() == again.json()
    assert len(service.client.get("/v1/datasets").json()["data"]) == 1


def test_folders_are_told_apart_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDRKD_DATASET_FOLDERS", f"{tmp_path}/a, {tmp_path}/b")
    assert [folder.name for folder in Settings().dataset_folders] == ["a", "b"]
    monkeypatch.setenv("RDRKD_DATASET_FOLDERS", f"{tmp_path}/x/a,{tmp_path}/y/a")
    with pytest.raises(ValueError, match="distinct names"):
        Settings()
