"""Small datasets made to order, sound ones and such with one thing wrong."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [car, person]\n"


def make_image(path: Path, width: int = 32, height: int = 24, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def make_dataset(root: Path, yaml: str | None = YAML, label: str = "0 0.5 0.5 0.25 0.5\n") -> Path:
    """Two images with a label file each."""
    for seed, split in enumerate(("train", "val")):
        make_image(root / "images" / split / "a.png", seed=seed)
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / "a.txt").write_text(label)
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


def zip_up(folder: Path, archive: Path, wrapper: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            opened.write(file, Path(wrapper) / file.relative_to(folder))
    return archive
