"""The ledger as it is shown: to an owner their own, to an admin everybody's, the disk and the caches."""

from pathlib import Path

from rdrkd import bounded_cache
from tests.api.conftest import ZIP, Service
from tests.api.uploads.ledger.test_reserving import announce


def test_an_owner_sees_what_counts_and_an_admin_everything(each_service: Service, tmp_path: Path) -> None:
    service, alice = each_service, each_service.key("alice")
    service.client.post("/v1/datasets", files={"file": ZIP}, headers=alice).raise_for_status()
    announce(service, service.key("bob"), 5000).raise_for_status()
    cache = service.app.state.settings.cache_dir
    for name in ("used", "idle"):
        (cache / name).mkdir(parents=True)
        (cache / name / "x").write_bytes(bytes(4096))
    run = bounded_cache.hold(cache, "used")

    mine = service.client.get("/v1/usage", headers=alice).json()
    every = service.client.get("/v1/usage", headers=service.key("root", scope="admin")).json()

    assert (mine["owner"], mine["used"]["datasets"], mine["used"]["total"]) == ("alice", len(ZIP[1]), len(ZIP[1]))
    assert (mine["quota_bytes"], mine["service"]) == (200 * 2**30, None)
    there = every["service"]
    assert [(each["owner"], each["used"]["announced"]) for each in there["owners"]] == [("bob", 5000), ("alice", 0)]
    assert there["free_bytes"] > 0
    assert there["caches"][0] == {
        "name": "datasets", "entries": 2, "bytes": 8192, "evictable_bytes": 4096,
        "excess_bytes": there["caches"][0]["excess_bytes"],
    }  # fmt: skip
    run.close()
