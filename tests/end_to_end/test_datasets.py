"""A dataset in another layout, with faults, from its upload to a student that was trained on it."""

import tarfile
from pathlib import Path

import pytest

from rdrkd.data.scenes import write_scenes
from tests.end_to_end.conftest import SERVERS, Service, quick


@pytest.fixture
def visdrone(tmp_path: Path) -> Path:
    """A tar of scenes as VisDrone hands its images out, with one line and one image at fault."""
    made = write_scenes(tmp_path / "scenes", "visdrone", {"train": 16, "val": 4}, 320).parent
    (made / "visdrone/train/broken.txt").write_text("1,2,30,40,1,4,0,0\n")
    (made / "images/train/broken.jpg").write_text("no image")
    with next((made / "visdrone/train").glob("[!b]*.txt")).open("a") as file:
        file.write("1,2,3\n")
    archive = tmp_path / "drone.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        for split in ("train", "val"):
            opened.add(made / "images" / split, f"VisDrone2019-DET-{split}/images")
            opened.add(made / "visdrone" / split, f"VisDrone2019-DET-{split}/annotations")
    return archive


@pytest.mark.slow
@SERVERS
def test_a_visdrone_tar_is_checked_leniently_and_trained_on(service: Service, visdrone: Path) -> None:
    for name in ("reaper", "inspect"):
        service.start(name)
    service.start("train", RDRKD_INSPECT_TIMEOUT_SECONDS="600")
    sent = {"name": "drone", "lenient": "true"}
    with visdrone.open("rb") as file:
        answer = service.client.post("/v1/datasets", files={"file": (visdrone.name, file)}, data=sent)
    dataset = answer.raise_for_status().json()
    job = service.submit(kind="train", dataset="drone@1", model={"architecture": "yolov8n"}, train=quick(1))

    checked = service.checked("datasets", dataset["id"])
    assert (checked["status"], checked["format"]) == ("ready", "visdrone"), checked["problems"]
    assert checked["report"]["dropped"]["counts"] == {"images": 2, "lines": 1}  # the line's image goes, too
    assert checked["report"]["statistics"]["splits"]["train"]["images"] == 15
    assert service.client.get(checked["links"]["preview"]).content.startswith(b"\xff\xd8\xff")

    ended = service.wait(job)
    assert ended["status"] == "succeeded", (ended, service.logs())
    assert ended["spec"]["dataset"] == dataset["id"]
    assert ended["resolved_spec"]["provenance"]["dataset_sha256"] == dataset["sha256"]
