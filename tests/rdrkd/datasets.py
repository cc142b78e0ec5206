"""A tiny dataset for tests: real drone images where they are at hand, drawn ones elsewhere."""

from pathlib import Path

from rdrkd.data.scenes import write_scenes
from tests.shared import find


def tiny_dataset(folder: Path) -> Path:
    """Return a dataset of 16 validation images and at least 48 for training, with a class `person`."""
    real = find("data/hit_uav_tiny.zip")
    return real or write_scenes(folder / "scenes", "demo", {"train": 48, "val": 16}, 96).parent
