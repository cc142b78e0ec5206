"""Datasets from buckets: only from prefixes that the operator allows, as they were when they were asked for."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.jobs import upload_checks
from api.settings import Settings
from api.uploads.datasets import buckets
from rdrkd.run.inspection import inspect
from tests.api.conftest import Service, Start
from tests.api.uploads.datasets.arriving import arrive, claim, workplace
from tests.rdrkd.data.crafted import make_dataset, zip_up
from tests.s3 import S3
from worker import importing

PATH = "/v1/datasets/from-bucket"
FILES = ["data.yaml", "images/train/a.png", "images/val/a.png", "labels/train/a.txt", "labels/val/a.txt"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = make_dataset(tmp_path / "made")
    (made / "train.cache").write_bytes(b"a pickle")
    (made / ".hidden.txt").write_text("x")
    return made


@pytest.fixture
def address(s3: S3, folder: Path) -> str:
    """A prefix that holds a sound dataset; what the operator allows is the part above."""
    return s3.fill(folder, "surveys/2026/hit uav")


@pytest.fixture
def settings(s3: S3, address: str) -> dict[str, Any]:
    return s3.sources(address.rpartition("/")[0])


@pytest.fixture
def service(start: Start, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(buckets, "PATIENT", buckets.IMPATIENT)
    with start(**settings) as running:
        yield running


def ask(service: Service, url: str, **more: Any) -> Any:
    return service.client.post(PATH, json={"url": url} | more)


def bucket_of(address: str) -> str:
    return address.split("/")[2]


@pytest.mark.parametrize("server", ["s3", "strict_s3"])
def test_a_prefix_becomes_a_dataset(
    server: str, request: pytest.FixtureRequest, start: Start, folder: Path, tmp_path: Path
) -> None:
    source: S3 = request.getfixturevalue(server)
    address = source.fill(folder, "surveys/hit-uav")
    with start(**source.sources(address)) as service:
        answer = ask(service, f"{address}/", name="mine", lenient=True)
        asked, view = answer.json(), arrive(service)

        assert (answer.status_code, answer.headers["Location"]) == (202, asked["links"]["self"])
        assert (asked["status"], asked["sha256"], asked["filename"]) == ("checking", None, "hit-uav.tar")
        assert view["problems"] == []
        assert (view["source"], view["version"], view["lenient"]) == (f"{address}/", 1, True)
        stored = service.storage.path(f"uploads/{view['sha256']}.tar")
        with tarfile.open(stored) as opened:
            assert {member.name: member.mtime for member in opened} == dict.fromkeys(FILES, 0)
        assert inspect(stored, tmp_path / "cache")["ok"]


def test_the_same_content_is_the_same_file_as_from_a_folder(
    start: Start, settings: dict[str, Any], address: str, folder: Path
) -> None:
    with start(**settings, dataset_folders=[folder.parent]) as service:
        ask(service, address)
        service.client.post("/v1/datasets/from-folder", json={"folder": f"{folder.parent.name}/made"})

        assert arrive(service)["sha256"] == arrive(service)["sha256"]


def test_an_archive_is_taken_as_it_is(service: Service, s3: S3, address: str, folder: Path, tmp_path: Path) -> None:
    archive = zip_up(folder, tmp_path / "a.zip")
    s3.put(bucket_of(address), {"surveys/2026/a.zip": archive.read_bytes()})

    asked = ask(service, address.replace("hit uav", "a.zip")).json()
    view = arrive(service)

    assert (asked["filename"], asked["size"]) == ("a.zip", archive.stat().st_size)
    assert service.storage.path(f"uploads/{view['sha256']}.zip").read_bytes() == archive.read_bytes()


@pytest.mark.slow
def test_large_objects_come_among_small_ones(service: Service, s3: S3, address: str) -> None:
    sizes = {f"images/train/{n:02}.jpg": 3 * buckets.SMALL if n == 5 else n for n in range(40)}
    s3.put(bucket_of(address), {f"surveys/many/{name}": bytes([size % 251]) * size for name, size in sizes.items()})

    service.app.state.settings = service.app.state.settings.model_copy(
        update={"dataset_buckets": [f"s3://{bucket_of(address)}"]}
    )
    ask(service, f"s3://{bucket_of(address)}/surveys/many").raise_for_status()
    view = arrive(service)

    with tarfile.open(service.storage.path(f"uploads/{view['sha256']}.tar")) as opened:
        found = {member.name: opened.extractfile(member).read() for member in opened}
    assert found == {name: bytes([size % 251]) * size for name, size in sizes.items()}


def test_by_default_nothing_is_allowed(start: Start, address: str) -> None:
    with start() as service:
        problem = ask(service, address).json()

    assert problem["code"] == "path_not_allowed"
    assert problem["errors"][0]["pointer"] == "/url"


LEADING_OUT = (
    "", "/secret", "/surveys", "/surveys/2026x", "/surveys/2026/../../secret", "/surveys/2026/./a", "/surveys/2026//a",
    "/surveys/2026\\a", "/surveys/2026/a\x00",
)  # fmt: skip


@pytest.mark.parametrize("asked", LEADING_OUT)
def test_what_is_not_on_the_list_is_refused(service: Service, address: str, asked: str) -> None:
    answer = ask(service, f"s3://{bucket_of(address)}{asked}")

    assert (answer.status_code, answer.json()["code"]) == (422, "path_not_allowed")


@pytest.mark.parametrize("asked", ["", "s3://", "s3:///surveys/2026", "s3://other/surveys/2026", "file:///etc/passwd"])
def test_other_buckets_and_what_is_none(service: Service, asked: str) -> None:
    assert ask(service, asked).json()["code"] in ("path_not_allowed", "invalid")


@pytest.mark.parametrize("key", ["images/../../../b.txt", "../b.txt", "labels//b.txt", "labels/./b.txt", "a\\b.txt"])
def test_names_that_lead_out_are_refused(service: Service, s3: S3, address: str, key: str) -> None:
    s3.put(bucket_of(address), {f"surveys/2026/hit uav/{key}": b"0 .5 .5 .1 .1\n"})

    answer = ask(service, address)

    assert (answer.status_code, answer.json()["code"]) == (422, "path_not_allowed")
    assert "plain names" in answer.json()["detail"]


@pytest.mark.parametrize("asked", ["2027", "hit", "a.zip", "hit uav/labels/val/a.txt"])
def test_what_is_not_there_is_an_unknown_reference(service: Service, address: str, asked: str) -> None:
    answer = ask(service, address.replace("hit uav", asked))

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_reference")


@pytest.mark.parametrize("asked", ["hit uav", "a.zip"])
def test_too_much_is_refused(start: Start, settings: dict[str, Any], s3: S3, address: str, asked: str) -> None:
    large = {name: bytes(5000) for name in ("surveys/2026/hit uav/b.txt", "surveys/2026/a.zip")}
    s3.put(bucket_of(address), large)
    with start(**settings, max_dataset_bytes=4000) as service:
        answer = ask(service, address.replace("hit uav", asked))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_too_many_are_refused(service: Service, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST", 4)

    assert ask(service, address).json()["code"] == "too_large"


def test_an_owners_quota_holds_and_counts_what_is_to_come(start: Start, settings: dict[str, Any], address: str) -> None:
    with start(**settings, quota_storage_bytes=6000) as service:
        alice = {"headers": service.key("alice")}
        sizes = [service.client.post(PATH, json={"url": address}, **alice).json().get("size") for _ in range(3)]

        assert sizes == [sizes[0], None, None]
        assert 3000 < sizes[0] < 6000


def test_a_bucket_that_is_away_is_told_and_waited_for(
    service: Service, settings: dict[str, Any], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(service, address).raise_for_status()
    state = service.app.state
    nowhere = {"dataset_s3_endpoint": "http://127.0.0.1:9"}

    view = arrive(service, **nowhere)
    assert (view["status"], view["sha256"], service.files()) == ("checking", None, [])
    assert arrive(service)["sha256"] is not None

    ask(service, address).raise_for_status()
    view = arrive(service, **nowhere, import_timeout_seconds=1e-6)
    assert view["status"] == "invalid"
    assert "expected a response from the bucket" in view["problems"][0]["detail"]

    state.settings = state.settings.model_copy(update=nowhere)
    answer = ask(service, address)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_a_bucket_that_is_away_holds_nothing_up(service: Service, address: str) -> None:
    stuck, other = (ask(service, address).raise_for_status().json()["id"] for _ in range(2))
    arrive(service, dataset_s3_endpoint="http://127.0.0.1:9")
    model = service.upload("models", ("a.pt", b"weights"))

    with service.database.transaction() as session:
        ids = [upload_checks.claim(session, "worker-1", 60).id for _ in range(3)]

    assert ids == [model, other, stuck]


def test_a_bucket_that_refuses_us_is_told(start: Start, strict_s3: S3, folder: Path) -> None:
    address = strict_s3.fill(folder, "surveys")
    with start(**strict_s3.sources(address, dataset_s3_secret_access_key="another")) as service:
        answer = ask(service, address)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "another" not in answer.text


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 2 * buckets.SMALL])
@pytest.mark.parametrize("change", ["content", "gone"])
def test_what_changes_between_look_and_copy_is_refused(
    service: Service, s3: S3, address: str, size: int, change: str
) -> None:
    bucket, key = bucket_of(address), "surveys/2026/hit uav/labels/val/a.txt"
    s3.put(bucket, {key: b"a" * size})
    source = buckets.look(service.app.state.settings, address, patient=False)
    with s3.client() as client:
        client.delete_object(Bucket=bucket, Key=key)
    s3.put(bucket, {key: b"b" * size} if change == "content" else {})

    with service.storage.incoming() as incoming, pytest.raises(buckets.UnusableReference, match=r"labels/val/a\.txt"):
        source.copy(incoming, 2**30)

    assert service.files() == []


def test_what_is_gone_when_it_is_to_be_copied_makes_it_invalid(service: Service, s3: S3, address: str) -> None:
    ask(service, address).raise_for_status()
    with s3.client() as client:
        for name in (*FILES, "train.cache", ".hidden.txt"):
            client.delete_object(Bucket=bucket_of(address), Key=f"surveys/2026/hit uav/{name}")

    view = arrive(service)

    assert (view["status"], view["problems"][0]["where"]) == ("invalid", address)
    assert "got nothing there" in view["problems"][0]["detail"]


def test_what_has_grown_beyond_the_quota_makes_it_invalid(start: Start, settings: dict[str, Any], address: str) -> None:
    with start(**settings) as service:
        service.client.headers.update(service.key("alice"))
        ask(service, address).raise_for_status()

        view = arrive(service, quota_storage_bytes=100)

        assert (view["status"], view["sha256"]) == ("invalid", None)
        assert "got" in view["problems"][0]["detail"]
        assert service.files() == []


def test_a_dataset_may_go_before_it_has_come(service: Service, address: str) -> None:
    asked = ask(service, address).json()
    claimed = claim(service)
    assert service.client.delete(asked["links"]["self"]).status_code == 204

    importing.run(workplace(service), claimed)

    assert service.client.get(asked["links"]["self"]).status_code == 404
    assert service.files() == []


def test_a_worker_that_was_overtaken_leaves_nothing(service: Service, address: str) -> None:
    asked = ask(service, address).json()
    late = claim(service, lease_seconds=-1)  # killed, or frozen, in the middle
    with service.database.transaction() as session:
        upload_checks.expire(session, 5)

    view = arrive(service)  # by the next worker
    importing.run(workplace(service), late)

    assert view["id"] == asked["id"]
    assert service.files() == [f"uploads/{view['sha256']}.tar"]


def test_a_drained_worker_gives_it_back(service: Service, s3: S3, address: str) -> None:
    s3.put(bucket_of(address), {"surveys/2026/hit uav/images/train/b.jpg": bytes(2**23)})
    ask(service, address).raise_for_status()
    claimed, place = claim(service), workplace(service, cancel_poll_seconds=0.001)
    place.draining.set()

    importing.run(place, claimed)

    again = claim(service)
    assert (again.id, again.attempt) == (claimed.id, 2)
    assert service.files() == []


def test_one_that_takes_too_long_is_refused(service: Service, s3: S3, address: str) -> None:
    s3.put(bucket_of(address), {"surveys/2026/hit uav/images/train/b.jpg": bytes(2**23)})
    ask(service, address).raise_for_status()

    view = arrive(service, cancel_poll_seconds=0.001, import_timeout_seconds=1e-6)

    assert view["status"] == "invalid"
    assert "copying took longer than" in view["problems"][0]["detail"]
    assert service.files() == []


def test_a_full_disk_is_waited_for(service: Service, address: str) -> None:
    ask(service, address).raise_for_status()

    view = arrive(service, min_free_bytes=2**60)

    assert (view["status"], view["sha256"]) == ("checking", None)


def test_a_job_may_name_it_before_it_has_come(service: Service, address: str) -> None:
    dataset = ask(service, address, name="mine").json()["id"]

    job = service.submit("mine")

    assert job["spec"]["dataset"] == dataset
    assert job["waiting_for"][0]["id"] == dataset


def test_sent_again_it_is_answered_alike_whatever_has_become_of_the_bucket(service: Service, address: str) -> None:
    request = {"json": {"url": address}, "headers": {"Idempotency-Key": "once"}}
    first = service.client.post(PATH, **request)
    state = service.app.state
    state.settings = state.settings.model_copy(update={"dataset_s3_endpoint": "http://127.0.0.1:9"})

    again = service.client.post(PATH, **request)

    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert len(service.client.get("/v1/datasets").json()["data"]) == 1


def test_settings_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDRKD_DATASET_BUCKETS", "s3://one/a/, s3://two")
    monkeypatch.setenv("RDRKD_S3_ENDPOINT", "https://s3.example")
    settings = Settings()
    assert settings.dataset_buckets == ["s3://one/a", "s3://two"]
    assert settings.dataset_s3_endpoint == "https://s3.example"
    with pytest.raises(ValueError, match="expected s3://bucket"):
        Settings(dataset_buckets=["https://one"])


@pytest.mark.parametrize("allowed", ["s3://files", "s3://files/rdrkd", "s3://files/rdrkd/uploads"])
def test_the_storages_own_bucket_is_no_source(allowed: str) -> None:
    with pytest.raises(ValueError, match="other than the storage's own"):
        Settings(storage_url="s3://files/rdrkd", dataset_buckets=[allowed])
    assert Settings(storage_url="s3://files/rdrkd", dataset_buckets=["s3://files/rdrkd-sources"])
    assert Settings(storage_url="s3://files/rdrkd", dataset_buckets=[allowed], dataset_s3_endpoint="https://other")
