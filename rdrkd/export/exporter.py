"""Making an export: Ultralytics' exporter on a copy of the network, with nothing fetched and nobody told."""

import copy
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from rdrkd.data.pixels import Pixels
from rdrkd.errors import ModelError
from rdrkd.export.agreement import inputs
from rdrkd.export.formats import KINDS
from rdrkd.models import LoadedModel
from rdrkd.spec.exporting import ExportSettings
from rdrkd.ultralytics_adapter import Exporter

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the moment of each zipped file: equal content gives equal bytes


def silence_openvino() -> None:
    """Keep OpenVINO from telling its makers that it was imported: without this package it tells nobody."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def make(
    loaded: LoadedModel,
    settings: ExportSettings,
    folder: Path,
    device: str,
    calibration: Callable[[], Iterable[Pixels]] | None = None,
    confidence: float | None = None,
) -> Path:
    """Export a network.

    Args:
        loaded: it is copied, not changed.
        settings: format, size and precision.
        folder: an existing folder, where the export goes.
        device: `cpu`, or a GPU's number.
        calibration: returns the images that an INT8 network's ranges are measured on.
        confidence: from which a detection counts, for the metadata of the export; None: it says nothing of it.

    Returns:
        What a runtime opens: a file, or of OpenVINO a folder.

    Raises:
        ModelError: the exporter fails with this network.
    """
    silence_openvino()
    model = copy.deepcopy(loaded.model)
    model.task, model.args = "detect", {"data": ""}
    model.pt_path = str(folder / "model.pt")  # names the export; the file need not be there
    bits = 8 if settings.int8 else 16 if settings.half else None
    overrides = {
        "format": settings.format, "imgsz": settings.imgsz, "quantize": bits,
        "device": device, "batch": 1, "dynamic": settings.dynamic,
    }  # fmt: skip
    with warnings.catch_warnings():
        # torch announces the end of its tracer, on which each of these formats stands, and tells what it fixes.
        warnings.simplefilter("ignore")
        try:
            made = _Exporter(overrides, calibration if settings.int8 else None, confidence)(model=model)
        except (AssertionError, ImportError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            name = KINDS[settings.format].name
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError(
                f"expected a network that {name} takes, got one with which the export fails: {first}"
            ) from error
    return Path(made)


class _Exporter(Exporter):
    """Ultralytics' exporter, whose INT8 is calibrated on images as they are compared: letterboxed, one at a time."""

    def __init__(
        self,
        overrides: dict[str, Any],
        calibration: Callable[[], Iterable[Pixels]] | None,
        confidence: float | None = None,
    ) -> None:
        self._more = {} if confidence is None else {"confidence": confidence}
        super().__init__(overrides=overrides)
        self._calibration = calibration
        if calibration is not None:
            self.args.data = "given"  # else it would fetch a data set of its makers'

    @property
    def metadata(self) -> dict[str, Any]:
        """What the exported file says of itself; Ultralytics composes it, and writes it in each format's own way."""
        return self._metadata

    @metadata.setter
    def metadata(self, composed: dict[str, Any]) -> None:
        self._metadata = {**composed, **self._more}

    def get_int8_calibration_dataloader(self, prefix: str = "") -> list[dict[str, Tensor]]:
        """Return the images, uint8."""
        assert self._calibration is not None
        return [{"img": (image * 255).round().byte()} for image in inputs(self._calibration(), *self.imgsz)]


def hand_out(made: Path, settings: ExportSettings, folder: Path) -> Path:
    """Return the exported file; a folder is zipped under its name, by which Ultralytics knows it."""
    target = folder / KINDS[settings.format].file
    if made.is_file():
        return made.replace(target)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(made.iterdir()):
            archive.writestr(
                zipfile.ZipInfo(f"{made.name}/{path.name}", _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED
            )
    return target
