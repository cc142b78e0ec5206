"""Making an export: Ultralytics' exporter on a copy of the network, with nothing fetched and nobody told."""

import copy
import sys
import warnings
import zipfile
from pathlib import Path

from rdrkd.errors import ModelError
from rdrkd.export.formats import KINDS
from rdrkd.models import LoadedModel
from rdrkd.spec.exporting import ExportSettings
from rdrkd.ultralytics_adapter import Exporter

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the moment of each zipped file: equal content gives equal bytes


def silence_openvino() -> None:
    """Keep OpenVINO from telling its makers that it was imported: without this package it tells nobody."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def make(loaded: LoadedModel, settings: ExportSettings, folder: Path, device: str) -> Path:
    """Export a network.

    Args:
        loaded: it is copied, not changed.
        settings: format, size and precision.
        folder: an existing folder, where the export goes.
        device: `cpu`, or a GPU's number.

    Returns:
        What a runtime opens: a file, or of OpenVINO a folder.

    Raises:
        ModelError: the exporter fails with this network.
    """
    silence_openvino()
    model = copy.deepcopy(loaded.model)
    model.task, model.args = "detect", {"data": ""}
    model.pt_path = str(folder / "model.pt")  # names the export; the file need not be there
    overrides = {
        "format": settings.format, "imgsz": settings.imgsz, "quantize": 16 if settings.half else None,
        "device": device, "batch": 1, "dynamic": settings.dynamic,
    }  # fmt: skip
    with warnings.catch_warnings():
        # torch announces the end of its tracer, on which each of these formats stands, and tells what it fixes.
        warnings.simplefilter("ignore")
        try:
            made = Exporter(overrides=overrides)(model=model)
        except (AssertionError, ImportError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            name = KINDS[settings.format].name
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError(
                f"expected a network that {name} takes, got one with which the export fails: {first}"
            ) from error
    return Path(made)


def hand_out(made: Path, settings: ExportSettings, folder: Path) -> Path:
    """Give the one file that is handed out: a folder goes into a zip, under its name, which Ultralytics knows it by."""
    target = folder / KINDS[settings.format].file
    if made.is_file():
        return made.replace(target)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(made.iterdir()):
            archive.writestr(
                zipfile.ZipInfo(f"{made.name}/{path.name}", _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED
            )
    return target
