"""A deployment on buckets: the dataset comes from one, everything is kept in another, the weights are fetched there."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from rdrkd.data.scenes import write_scenes
from tests.end_to_end.conftest import Service, quick
from tests.end_to_end.test_line import predict
from tests.s3 import S3, SECRET
from tests.servers import Backend


@pytest.fixture(params=["embedded"])
def backend(tmp_path: Path) -> Backend:
    return Backend("embedded", f"sqlite:///{tmp_path}/rdrkd.db", f"sqla+sqlite:///{tmp_path}/broker.db")


@pytest.fixture
def address(strict_s3: S3, tmp_path: Path) -> str:
    """Loose scenes in VisDrone's layout, in a bucket that is not ours."""
    made, loose = write_scenes(tmp_path / "scenes", "visdrone", {"train": 8, "val": 2}, 320).parent, tmp_path / "loose"
    for split in ("train", "val"):
        for kind, source in (("images", made / "images" / split), ("annotations", made / "visdrone" / split)):
            target = loose / f"VisDrone2019-DET-{split}" / kind
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
    return strict_s3.fill(loose, "surveys/2026-05")


@pytest.fixture
def service(backend: Backend, strict_s3: S3, address: str, tmp_path: Path) -> Iterator[Service]:
    service = Service(backend, tmp_path)
    for name, value in (strict_s3.settings() | strict_s3.sources(address.rpartition("/")[0])).items():
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        service.environment[f"RDRKD_{name.upper()}"] = ",".join(plain) if isinstance(plain, list) else plain
    try:
        service.start_api()
        yield service
    finally:
        service.stop()


@pytest.mark.slow
def test_from_a_bucket_to_weights_in_a_bucket(service: Service, strict_s3: S3, address: str, tmp_path: Path) -> None:
    for name in ("reaper", "inspect", "train"):
        service.start(name)
    asked = service.client.post("/v1/datasets/from-bucket", json={"url": address, "name": "may"})
    dataset = asked.raise_for_status().json()
    job = service.submit(kind="train", dataset="may", model={"architecture": "yolov8n"}, train=quick(1))

    checked = service.checked("datasets", dataset["id"])
    assert (checked["status"], checked["format"]) == ("ready", "visdrone"), (checked["problems"], service.logs())
    assert checked["report"]["statistics"]["splits"]["train"]["images"] == 8
    ended = service.wait(job)
    assert ended["status"] == "succeeded", (ended, service.logs())
    assert ended["resolved_spec"]["provenance"]["dataset_sha256"] == checked["sha256"]

    led = service.client.get(f"/v1/jobs/{job}/weights")
    assert (led.status_code, urlsplit(led.headers["Location"]).netloc) == (307, urlsplit(strict_s3.endpoint).netloc)
    weights = httpx2.get(led.headers["Location"], timeout=30, trust_env=False).raise_for_status().content
    assert hashlib.sha256(weights).hexdigest() == led.headers["ETag"].strip('"')
    assert "DetectionModel" in predict(weights, tmp_path / "plain")
    assert not (tmp_path / "var/storage/uploads").exists()  # nothing is kept on this machine
    assert SECRET not in service.logs()
