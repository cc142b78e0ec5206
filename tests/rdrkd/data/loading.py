"""What training and evaluation make of a dataset."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from rdrkd.data import Dataset, open_dataset
from rdrkd.data.check import examine
from rdrkd.data.loaded import LoadedDataset, loaded
from rdrkd.data.reading import AS_IT_IS, Reading
from rdrkd.evaluation.ground_truth import LabelledImage, from_annotations
from rdrkd.run.inspection import inspect
from rdrkd.ultralytics_adapter import default_arguments


def load(dataset: Dataset, split: str, folder: Path, rect: bool = False, **arguments: Any) -> LoadedDataset:
    """Load a split as a training or validation does."""
    folder.mkdir(exist_ok=True)
    dataset.write_yaml(folder / "data.yaml")
    data: dict[str, Any] = {"names": dict(enumerate(dataset.names)), "yaml_file": str(folder / "data.yaml")}
    if dataset.scaling is not None:
        data["scaling"] = [dataset.scaling.low, dataset.scaling.high]
    args = default_arguments(imgsz=64, **arguments)
    return loaded(args, str(folder / f"data.{split}.txt"), 2, data, "val", rect=rect, stride=32)


def truth(dataset: Dataset, split: str) -> dict[str, Any]:
    """Return the ground truth by which a split is evaluated."""
    images = [
        LabelledImage(one.image, one.size[1], one.size[0], np.zeros(0, np.int64), np.zeros((0, 4)))
        for one in examine(dataset, split)
        if one.size
    ]
    return from_annotations(dataset.annotations[split], images, dataset.names)[0]


def the_same_everywhere(path: Path, scratch: Path, reading: Reading = AS_IT_IS) -> dict[str, Any]:
    """Check a dataset and return the report; of a sound one, training and evaluation see what the check has counted."""
    report = inspect(path, scratch / "cache", reading)
    text = json.dumps(report, ensure_ascii=False).encode()  # fails over half characters, which no database stores
    assert b"\\u0000" not in text
    if not report["ok"]:
        assert report["problems"]
        assert all(problem["where"] and "reading fails" not in problem["detail"] for problem in report["problems"])
        return report
    dataset = open_dataset(path, scratch / "cache", reading=reading)
    for split, counted in report["statistics"]["splits"].items():
        images = load(dataset, split, scratch / "run")
        assert len(images.im_files) == counted["images"]
        assert sum(len(label["cls"]) for label in images.labels) == counted["boxes"]
        for index, label in enumerate(images.labels):
            assert images.load_image(index)[1] == label["shape"]
        if split in dataset.annotations and any(len(label["cls"]) for label in images.labels):
            judged = truth(dataset, split)
            assert len(judged["images"]) == counted["images"]
            assert sum(not one["iscrowd"] for one in judged["annotations"]) == counted["boxes"]
    return report
