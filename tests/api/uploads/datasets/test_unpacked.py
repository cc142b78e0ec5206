"""What lies unpacked of datasets goes with them, unless a run uses it or another dataset has the same content."""

from pathlib import Path

from api.uploads.datasets import unpacked
from rdrkd import bounded_cache
from tests.api.conftest import ZIP, Service
from tests.api.uploads.ledger.sending import until


def lay(cache: Path, name: str) -> Path:
    (cache / name / "images").mkdir(parents=True)
    (cache / name / "images" / "a.jpg").write_bytes(bytes(1000))
    return cache / name


def test_deleting_a_dataset_evicts_its_unpacked_folder(each_service: Service) -> None:
    service, cache = each_service, each_service.app.state.settings.cache_dir
    alice, bob = service.key("alice"), service.key("bob")
    mine, theirs = (
        service.client.post("/v1/datasets", files={"file": ZIP}, headers=who).raise_for_status().json()
        for who in (alice, bob)
    )
    folders = [lay(cache, mine["sha256"]), lay(cache, f"{mine['sha256']}.lenient"), lay(cache, "0" * 64)]

    service.client.delete(f"/v1/datasets/{mine['id']}", headers=alice).raise_for_status()
    assert all(folder.exists() for folder in folders)  # another's dataset is the same
    service.client.delete(f"/v1/datasets/{theirs['id']}", headers=bob).raise_for_status()

    until(lambda: not folders[0].exists() and not folders[1].exists())
    assert folders[2].exists()  # of a dataset that was deleted elsewhere
    unpacked.sweep(service.database, cache)
    assert bounded_cache.names(cache) == []


def test_what_a_run_uses_goes_when_it_has_ended(service: Service) -> None:
    cache = service.app.state.settings.cache_dir
    folder = lay(cache, "0" * 64)
    run = bounded_cache.hold(cache, folder.name)

    unpacked.sweep(service.database, cache)
    assert folder.exists()
    run.close()
    unpacked.sweep(service.database, cache)
    assert not folder.exists()


def test_a_refused_dataset_keeps_nothing_unpacked(service: Service) -> None:
    dataset = service.client.get(f"/v1/datasets/{service.upload()}").json()
    folder = lay(service.app.state.settings.cache_dir, dataset["sha256"])
    unpacked.sweep(service.database, folder.parent)
    assert folder.exists()

    service.settle("not a dataset")
    unpacked.sweep(service.database, folder.parent)

    assert not folder.exists()
