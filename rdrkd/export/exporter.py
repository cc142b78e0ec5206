"""Export with Ultralytics' exporter on a copy of the network, without downloads or telemetry."""

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

_EPOCH = (1980, 1, 1, 0, 0, 0)  # timestamp of each zipped file, for reproducible bytes


def silence_openvino() -> None:
    """Disable OpenVINO's telemetry on import by blocking the package that sends it."""
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
        loaded: the network; copied, not changed.
        settings: format, size and precision.
        folder: an existing folder to export into.
        device: `cpu`, or a GPU's number.
        calibration: returns the images on which to calibrate an INT8 network.
        confidence: recommended confidence threshold for the metadata of the export; None: omitted.

    Returns:
        The path that a runtime opens: a file, or for OpenVINO a folder.

    Raises:
        ModelError: the exporter fails with this network.
    """
    silence_openvino()
    model = copy.deepcopy(loaded.model)
    model.task, model.args = "detect", {"data": ""}
    model.pt_path = str(folder / "model.pt")  # names the export; the file need not exist
    bits = 8 if settings.int8 else 16 if settings.half else None
    overrides = {
        "format": settings.format, "imgsz": settings.imgsz, "quantize": bits,
        "device": device, "batch": 1, "dynamic": settings.dynamic,
    }  # fmt: skip
    with warnings.catch_warnings():
        # torch warns that its tracer, which these formats need, is deprecated, and about values that it fixes.
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
    """Ultralytics' exporter, with INT8 calibrated on the images of the comparison: letterboxed, one at a time."""

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
            self.args.data = "given"  # else it would download a dataset of Ultralytics'

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the exported file; Ultralytics composes it and writes it in each format's own way."""
        return self._metadata

    @metadata.setter
    def metadata(self, composed: dict[str, Any]) -> None:
        self._metadata = {**composed, **self._more}

    def get_int8_calibration_dataloader(self, prefix: str = "") -> list[dict[str, Tensor]]:
        """Return the images, uint8."""
        assert self._calibration is not None
        return [{"img": (image * 255).round().byte()} for image in inputs(self._calibration(), *self.imgsz)]


def hand_out(made: Path, settings: ExportSettings, folder: Path) -> Path:
    """Return the exported file; zip a folder under its own name, by which Ultralytics recognises the format."""
    target = folder / KINDS[settings.format].file
    if made.is_file():
        return made.replace(target)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(made.iterdir()):
            archive.writestr(
                zipfile.ZipInfo(f"{made.name}/{path.name}", _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED
            )
    return target
