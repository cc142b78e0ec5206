"""Run an export: make it, compare it with torch, measure AP and latency of both, and describe it."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rdrkd.data import Dataset
from rdrkd.data.pixels import Pixels
from rdrkd.errors import StopRequested
from rdrkd.evaluation.evaluate import check_pair, measure
from rdrkd.evaluation.operating_points import threshold_of
from rdrkd.events import Progress, Warn
from rdrkd.export import agreement, exporter, latency, networks
from rdrkd.export.formats import device_of
from rdrkd.files import file_sha256
from rdrkd.models import LoadedModel, load_weights
from rdrkd.process.devices import devices_of
from rdrkd.reporter import Reporter
from rdrkd.spec.exporting import ExportSettings

BATCH_ELSEWHERE = 2  # batch size of the check at another shape, if the export is dynamic
_BATCH = 16  # for torch's evaluation; an export takes one image at a time


def export(
    weights: Path, dataset: Dataset, settings: ExportSettings, folder: Path, reporter: Reporter, device: str | None
) -> dict[str, Any]:
    """Export weights into `folder`, and return the result.

    Returns:
        `metrics` and `per_class` of the exported network as of an evaluation; `export`: `format`, `half`, `int8` (the
        calibration images, or None), `dynamic`, `confidence` (at torch's best F1; also in the file's metadata),
        `file` with `sha256` and `size`, `torch` (its `metrics` on the same square images), `ap_difference` (percent
        points), `agreement` (see `agreement.compare`), `agreement_elsewhere` (the same at another shape, or None) and
        `latency` of both, with `batch`, `imgsz` and the machine.

    Raises:
        MachineError: the format cannot be exported on this machine.
        ModelError: the weights cannot be read or exported.
        PairError, DatasetError: the dataset does not fit the weights.
        StopRequested: the reporter requested a stop.
    """
    place = device_of(settings, devices_of(device)[0])
    loaded = load_weights(weights)
    check_pair(loaded.names, dataset, settings.split)
    reporter.emit(Progress(phase="exporting"))
    calibration = agreement.spread(dataset.images("train"), settings.calibration) if settings.int8 else []
    size, split, network = settings.imgsz, settings.split, copy.deepcopy(loaded.model)  # measuring fuses it
    by_torch = measure(network, dataset, size, _BATCH, split, place, reporter, rect=False)
    confidence = threshold_of(by_torch)
    made = exporter.make(loaded, settings, folder, place, lambda: map(dataset.read, calibration), confidence)
    checked = _checked(made, loaded, by_torch, dataset, settings, place, reporter)
    file = exporter.hand_out(made, settings, folder)
    described = {
        "format": settings.format,
        "half": settings.half,
        "int8": {"images": len(calibration), "split": "train"} if settings.int8 else None,
        "dynamic": settings.dynamic,
        "confidence": confidence,
        "file": {"name": file.name, "sha256": file_sha256(file), "size": file.stat().st_size},
        "weights_size": weights.stat().st_size,
    }
    return {**checked["own"], "export": described | checked["beside"]}


def _checked(
    made: Path,
    loaded: LoadedModel,
    by_torch: dict[str, Any],
    dataset: Dataset,
    settings: ExportSettings,
    place: str,
    reporter: Reporter,
) -> dict[str, Any]:
    ours = networks.of_torch(loaded, place)
    exported = networks.of_export(made, settings, place)
    chosen = agreement.spread(dataset.images(settings.split), settings.images)
    images = list(agreement.inputs(map(dataset.read, chosen), settings.imgsz, settings.imgsz))
    if exported.computes_in != ours.computes_in and not (settings.half or settings.int8):
        message = (
            f"{exported.runtime} computes in {exported.computes_in} on this processor, torch in {ours.computes_in}"
        )
        reporter.emit(Warn(code="export_precision", message=message))
    agreed = agreement.compare(ours, exported, images, settings.conf)
    _stop_if_asked(reporter)
    stride = int(loaded.model.stride.max())
    again = [dataset.read(image) for image in chosen] if settings.dynamic else []
    elsewhere = _at_another_shape(ours, exported, again, settings, stride) if settings.dynamic else None
    _stop_if_asked(reporter)
    times = latency.time_side_by_side({"torch": ours, "exported": exported}, images, settings.repeats)
    _stop_if_asked(reporter)
    size, split = settings.imgsz, settings.split
    figures = measure(str(made), dataset, size, 1, split, place, reporter, rect=False)
    del by_torch["per_class"]
    own = {"per_class": figures.pop("per_class"), "metrics": figures}
    beside = {
        "torch": {"metrics": by_torch},
        "ap_difference": _difference(figures["coco"]["AP"], by_torch["coco"]["AP"]),
        "agreement": agreed,
        "agreement_elsewhere": elsewhere,
        "latency": {
            "batch": 1,
            "imgsz": size,
            "repeats": settings.repeats,
            **latency.machine(place),
            **{
                name: {"runtime": network.runtime, "computes_in": network.computes_in, **times[name]}
                for name, network in (("torch", ours), ("exported", exported))
            },
        },
    }
    return {"own": own, "beside": beside}


def _at_another_shape(
    ours: networks.Network, exported: networks.Network, read: Sequence[Pixels], settings: ExportSettings, stride: int
) -> dict[str, Any]:
    """Compare two networks on batches of another height and width than the export was traced with."""
    height, width = settings.imgsz + stride, settings.imgsz + 2 * stride
    images = torch.cat(list(agreement.inputs(read, height, width)))
    compared = agreement.compare(ours, exported, images.split(BATCH_ELSEWHERE), settings.conf)
    return {"batch": BATCH_ELSEWHERE, "height": height, "width": width, **compared}


def _difference(exported: float | None, ours: float | None) -> float | None:
    return None if exported is None or ours is None else round(exported - ours, 3)


def _stop_if_asked(reporter: Reporter) -> None:
    if reporter.should_stop():
        raise StopRequested("the export was asked to stop")
