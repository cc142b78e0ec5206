"""Both clients on a live service: what they ask, what they raise, and that they are alike."""

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from api.tables.states import Status
from rdrkd.client import AsyncClient, Client, NotEnded, Refused, Unreachable
from tests.api.uploads.datasets.previews import PICTURE, with_preview
from tests.api.uploads.models.registered import settle, student
from tests.rdrkd.client.conftest import Live, begin
from tests.rdrkd.data.crafted import make_dataset
from tests.s3 import S3


def test_the_blocking_client_is_the_one_that_is_generated(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, root / "tools" / "generate_client.py", tmp_path], check=True)
    committed = {file.name: file.read_text() for file in (root / "rdrkd" / "client" / "_sync").glob("*.py")}
    assert committed == {file.name: file.read_text() for file in tmp_path.glob("*.py")}, "run `make client`"


def test_the_two_have_the_same_methods() -> None:
    def public(client: type) -> list[str]:
        return sorted(name for name in vars(client) if not name.startswith("_"))

    assert public(Client) == public(AsyncClient)


def test_a_job_from_submission_to_its_end(live: Live, service: Client) -> None:
    job = service.submit({"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": live.dataset()})
    held = live.bring(job.id, Status.RUNNING)
    live.epoch(held, 1)
    seen: list[str] = []

    ending = threading.Timer(1.0, live.end, (held, Status.FAILED))
    ending.start()
    ended = service.wait(job.id, timeout=30, news=lambda state: seen.append(state.status))

    assert (job.status, ended.status, ended.reason) == ("queued", "failed", "nan_loss")
    assert seen == ["running", "failed"]
    assert [epoch["epoch"] for epoch in service.metrics(job.id)] == [1]
    assert service.artifacts(job.id) == []
    assert next(service.jobs()).id == job.id
    assert next(found.id for found in service.jobs(status=["failed"], kind="train")) == job.id


def test_a_cancel_is_told_as_it_is(live: Live, service: Client) -> None:
    queued = live.job()
    assert service.cancel(queued).status == "cancelled"

    running = live.job()
    held = live.bring(running, Status.RUNNING)
    assert service.cancel(running).status == "cancelling"

    live.end(held, Status.CANCELLED)
    assert service.wait(running, timeout=10).status == "cancelled"


def test_lists_go_on_over_pages(live: Live, service: Client) -> None:
    uploads = [live.upload("models", (f"{n}.pt", b"x")) for n in range(23)]

    assert [model.id for model in service.models()] == uploads[::-1]


def test_the_wait_may_end_first(live: Live, service: Client) -> None:
    job = live.job()

    with pytest.raises(NotEnded, match="it continues"):
        service.wait(job, timeout=1.2)

    assert service.job(job).status == "queued"
    service.cancel(job)


def test_a_refusal_has_its_code_and_its_fields(service: Client) -> None:
    with pytest.raises(Refused) as refused:
        service.submit({"kind": "train", "dataset": "ds_1", "train": {"epochs": 0}})

    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert "/train/epochs" in {problem.where for problem in refused.value.problems}


@pytest.mark.slow
def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(Unreachable, match="GET /v1/version"):
        client.version()


def test_a_token_is_sent(tmp_path: Path) -> None:
    with begin(tmp_path / "guarded", token="secret") as live:
        with Client(live.url, "secret") as client:
            assert client.version()["name"] == "rdrkd"
        with Client(live.url, "wrong") as client, pytest.raises(Refused) as refused:
            client.version()
    assert refused.value.code == "unauthorized"


def test_the_async_client_follows_several_jobs_at_once(live: Live) -> None:
    jobs = [live.job() for _ in range(3)]

    async def follow() -> list[str]:
        async with AsyncClient(live.url) as client:
            waits = [asyncio.create_task(client.wait(job, timeout=30)) for job in jobs]
            for job in jobs:
                await client.cancel(job)
            listed = [job.id async for job in client.jobs(status=["cancelled"])]
            assert set(jobs) <= set(listed)
            return [job.status for job in await asyncio.gather(*waits)]

    assert asyncio.run(follow()) == ["cancelled"] * 3


def test_a_student_becomes_a_model_and_comes_back(live: Live, service: Client, tmp_path: Path) -> None:
    first = service.register(student(live), "n", ["production"])
    second = service.register(student(live, b"better"), "n")
    for _ in range(2):
        settle(live, b"converted")

    moved = service.move_alias(second.id, "production")

    assert (first.version, first.aliases, second.version) == (1, ["production"], 2)
    assert first.lineage is not None
    assert first.lineage["metrics"] == {"coco": {"AP": 12.5}}
    assert (moved.aliases, service.model(first.id).aliases) == (["production"], [])
    assert [model.id for model in service.models(name="n", alias="production")] == [second.id]
    assert service.download_model(second.id, tmp_path / "n.pt").read_bytes() == b"better"
    assert service.download_model(second.id, tmp_path / "n.safetensors", "safetensors").read_bytes() == b"converted"
    service.delete_alias(second.id, "production")
    service.delete_model(second.id)
    with pytest.raises(Refused):
        service.model(second.id)


def test_the_async_client_registers_as_well(live: Live, tmp_path: Path) -> None:
    async def walk() -> list[str]:
        async with AsyncClient(live.url) as client:
            model = await client.register(student(live), "n")
            settle(live)
            assert (await client.move_alias(model.id, "best")).aliases == ["best"]
            await client.download_model(model.id, tmp_path / "n.pt")
            found = [row.id async for row in client.models(alias="best")]
            assert found == [model.id]
            await client.delete_alias(model.id, "best")
            await client.delete_model(model.id)
            return [row.id async for row in client.models(name="n")]

    assert asyncio.run(walk()) == []
    assert (tmp_path / "n.pt").read_bytes() == b"weights"


def test_a_study_by_client(live: Live, service: Client) -> None:
    teacher = {"model": {"architecture": "yolov8s"}, "train": {"epochs": 1}}
    spec = {"name": "mine", "dataset": live.dataset(), "teacher": teacher, "student": {"architecture": "yolov8n"}}

    study = service.submit_study(spec | {"methods": ["none", "rdr-kd"], "seeds": [1]})
    more = service.extend_study(study.id, {"seeds": [2]})

    assert (study.status, study.name, next(service.studies()).id) == ("queued", "mine", study.id)
    assert [(m["method"], m["seed"]) for m in more.model_extra["members"]] == [
        (method, seed) for seed in (1, 2) for method in ("none", "rdr-kd")
    ]
    assert service.cancel_study(study.id).ended
    assert service.wait_study(study.id, timeout=10).status == "cancelled"
    assert service.resume_study(study.id).status == "queued"
    service.cancel_study(study.id)
    service.delete_study(study.id)
    assert not list(service.studies())
    assert {"decoupled", "cwd"} <= {method["name"] for method in service.methods()}


def test_datasets_with_their_versions_and_previews(live: Live, service: Client, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(b"content")
    live.upload()
    made = [service.upload_dataset(tmp_path / "a.tgz", "mine", lenient=lenient) for lenient in (False, True)]

    assert [(row.version, row.lenient, row.format) for row in made] == [(1, False, None), (2, True, None)]
    assert [row.id for row in service.datasets(name="mine")] == [made[1].id, made[0].id]
    for _ in range(3):
        live.settle("no")
    pictured = with_preview(live)
    assert service.dataset(pictured).format == "coco"
    assert service.download_preview(pictured, tmp_path / "p.jpg").read_bytes() == PICTURE


def test_a_folder_of_the_service(tmp_path: Path, migrated: Path) -> None:
    make_dataset(tmp_path / "surveys/one")
    (tmp_path / "live").mkdir()
    shutil.copy(migrated, tmp_path / "live/rdrkd.db")
    with begin(tmp_path / "live", dataset_folders=[tmp_path / "surveys"]) as live, Client(live.url) as service:
        dataset = service.import_dataset("surveys/one", "mine", lenient=True)
        assert (dataset.version, dataset.lenient, dataset.filename) == (1, True, "one.tar")
        with pytest.raises(Refused) as refused:
            service.import_dataset("elsewhere/one")
    assert refused.value.code == "path_not_allowed"


def test_a_bucket_of_the_operators_list(tmp_path: Path, migrated: Path, strict_s3: S3) -> None:
    address = strict_s3.fill(make_dataset(tmp_path / "one"), "surveys/one")
    (tmp_path / "live").mkdir()
    shutil.copy(migrated, tmp_path / "live/rdrkd.db")
    with begin(tmp_path / "live", **strict_s3.sources(address)) as live, Client(live.url) as service:
        dataset = service.import_dataset(address, "mine")
        assert (dataset.version, dataset.source, dataset.sha256, dataset.ended) == (1, address, None, False)
        with pytest.raises(Refused) as refused:
            service.import_dataset("s3://elsewhere/one")
    assert refused.value.code == "path_not_allowed"
