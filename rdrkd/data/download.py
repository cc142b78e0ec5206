"""Datasets by name, downloaded from Ultralytics' server and converted here.

Ultralytics' own converter drops VisDrone's ignored regions, so detections in them count as false positives. Here
`rdrkd.data.visdrone` converts its zips and keeps the regions for the evaluation.
"""

from pathlib import Path

from rdrkd.data.visdrone import Source, convert
from rdrkd.errors import DatasetError
from rdrkd.ultralytics_adapter import ASSETS_URL, safe_download

_SPLITS = {
    "train": "VisDrone2019-DET-train",
    "val": "VisDrone2019-DET-val",
}  # the paper's splits
NAMED = ("VisDrone",)


def fetch_visdrone(folder: Path, source: str = ASSETS_URL) -> Path:
    """Download VisDrone-DET's training and validation images, once, and return the path of their data YAML.

    Args:
        folder: folder in which to create `VisDrone/`; an existing dataset is reused unchanged.
        source: URL of the folder that holds the zips.

    Raises:
        DatasetError: they cannot be downloaded or converted.
    """
    made = folder / "VisDrone" / "data.yaml"
    if made.is_file():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SPLITS.values():
        if (folder / name / "annotations").is_dir():
            continue
        url = f"{source}/{name}.zip"
        try:
            safe_download(url, dir=folder, unzip=True, delete=True, exist_ok=True)
        except Exception as error:  # Ultralytics can raise anything on a network failure
            raise DatasetError(f"expected VisDrone at {url}, got {type(error).__name__}: {error}") from error
    parts = {split: Source(folder / name / "images", folder / name / "annotations") for split, name in _SPLITS.items()}
    return convert(parts, folder / "VisDrone")
