"""The images of a dataset that people leaf through: spread over the splits, with the boxes that training sees."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rdrkd.data import Dataset, album, open_dataset
from rdrkd.data.album import draw_album
from rdrkd.data.scenes import write_scenes
from rdrkd.run.inspection import inspect


def read(folder: Path) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return the entries, and the pictures as they lie one after the other."""
    entries = json.loads((folder / album.INDEX).read_text())["images"]
    content, pictures = (folder / album.PICTURES).read_bytes(), []
    for entry in entries:
        piece, content = content[: entry["bytes"]], content[entry["bytes"] :]
        pictures.append(cv2.imdecode(np.frombuffer(piece, dtype=np.uint8), cv2.IMREAD_COLOR))
    assert content == b""
    return entries, pictures


def test_every_split_has_its_images_with_their_boxes(dataset: Dataset, tmp_path: Path) -> None:
    draw_album(dataset, tmp_path)
    entries, pictures = read(tmp_path)
    assert [entry["split"] for entry in entries] == ["train"] * 12 + ["val"] * 4
    for entry, picture in zip(entries, pictures, strict=True):
        assert picture.shape == (entry["height"], entry["width"], 3)
    (first,) = (path for path in dataset.images("val") if path.name == entries[-1]["name"])
    labels = first.parents[2] / "labels" / "val" / f"{first.stem}.txt"
    assert len(entries[-1]["boxes"]) == len(labels.read_text().splitlines())


@pytest.mark.parametrize(("most", "sides"), [(6, 40), (4, 96)])
def test_a_large_dataset_is_sampled_and_its_pictures_are_small(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, sides: int
) -> None:
    monkeypatch.setattr(album, "MOST", most)
    monkeypatch.setattr(album, "_SIDE", sides)
    draw_album(dataset, tmp_path)
    entries, pictures = read(tmp_path)
    assert {entry["split"] for entry in entries} == {"train", "val"}
    assert len(entries) <= most + 2
    assert {picture.shape[0] for picture in pictures} == {sides}


def test_bytes_are_bounded(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "MOST_BYTES", 5000)
    draw_album(dataset, tmp_path)
    assert (tmp_path / album.PICTURES).stat().st_size <= 5000
    assert len(read(tmp_path)[0]) >= 1


def test_an_album_that_cannot_be_written_refuses_nothing(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", "demo", {"train": 2, "val": 1}, 64, seed=1)
    (tmp_path / "taken").write_text("a file, where a folder is to be made")
    report = inspect(scenes.parent, tmp_path / "cache", album=tmp_path / "taken")
    assert report["ok"] is True
    assert open_dataset(scenes, tmp_path).names
