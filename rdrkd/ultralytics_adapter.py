"""The one door to Ultralytics: every name the library takes from it, imported once, in a safe environment.

Ultralytics has no stubs and reads its switches from the environment at import, so nothing else imports it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rdrkd import environment

environment.apply()

import torch  # noqa: E402 - the environment must stand before these imports
from torch import Tensor, nn  # noqa: E402
from ultralytics import YOLO  # noqa: E402
from ultralytics import __version__ as _version  # noqa: E402
from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.engine import trainer as _engine_trainer  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator  # noqa: E402
from ultralytics.nn.distill_model import DistillationModel, FeatureHook  # noqa: E402
from ultralytics.nn.modules.head import Detect  # noqa: E402
from ultralytics.nn.tasks import DetectionModel, torch_safe_load, yaml_model_load  # noqa: E402
from ultralytics.utils import DEFAULT_CFG_KEYS, LOGGER, USER_CONFIG_DIR  # noqa: E402
from ultralytics.utils.tal import dist2bbox, make_anchors  # noqa: E402
from ultralytics.utils.torch_utils import copy_attr, get_flops, unwrap_model  # noqa: E402

ULTRALYTICS_VERSION: str = _version

__all__ = [
    "DEFAULT_CFG_KEYS", "LOGGER", "ULTRALYTICS_VERSION", "YOLO", "Detect", "DetectionModel", "DetectionTrainer",
    "DetectionValidator", "DistillationModel", "FeatureHook", "branch", "copy_attr", "decode_boxes",
    "default_arguments", "get_flops", "local_amp_check", "provide_font", "torch_safe_load", "unwrap_model",
    "yaml_model_load",
]  # fmt: skip


def default_arguments(**overrides: Any) -> Any:
    """Give Ultralytics' default arguments, as a trainer gives them to its model."""
    return get_cfg(overrides=overrides)


def branch(output: Any) -> dict[str, Any]:
    """Give the dense prediction dict of a Detect output, whatever the mode and the head.

    Args:
        output: `{boxes, scores, feats}` or, end-to-end, `{one2many, one2one}` of such; in eval with the decoded
            predictions before it.

    Returns:
        `boxes` (B, 4R, A) distribution logits, `scores` (B, nc, A) class logits, `feats` list of (B, C, H, W).
        Of an end-to-end head the one-to-many branch: it is the densely supervised one.
    """
    raw = output[1] if isinstance(output, tuple) else output
    dense: dict[str, Any] = raw.get("one2many", raw)
    return dense


def decode_boxes(prediction: dict[str, Any], strides: Tensor) -> Tensor:
    """Decode a prediction dict to boxes in fp32.

    Args:
        prediction: as `branch` gives it.
        strides: (L,) strides of the head's levels, px.

    Returns:
        (B, A, 4) x1 y1 x2 y2 in px of the network input: anchor point -/+ the expectation of softmax(d) over the
        R bins, times the stride (R = 1: the distances themselves).
    """
    anchors, stride = make_anchors(prediction["feats"], strides, 0.5)
    logits = prediction["boxes"].float().permute(0, 2, 1)  # (B, A, 4R)
    batch, count, width = logits.shape
    if width > 4:
        bins = torch.arange(width // 4, dtype=torch.float32, device=logits.device)
        logits = logits.view(batch, count, 4, width // 4).softmax(3) @ bins
    decoded: Tensor = dist2bbox(logits, anchors.float(), xywh=False) * stride.float()
    return decoded


@contextmanager
def local_amp_check() -> Iterator[None]:
    """While the trainer sets up, answer its AMP check from the hardware.

    Ultralytics' own check downloads a model to compare fp32 with fp16 detections; a training machine has no network.
    Compute capability 7.0 (Volta) and up has the fp16 units; the 16xx cards that Ultralytics refuses are 7.5 TU11x.
    """

    def check(model: nn.Module) -> bool:
        device = next(model.parameters()).device
        if device.type != "cuda" or "GTX 16" in torch.cuda.get_device_name(device):
            return False
        return torch.cuda.get_device_capability(device) >= (7, 0)

    original, _engine_trainer.check_amp = _engine_trainer.check_amp, check
    try:
        yield
    finally:
        _engine_trainer.check_amp = original


def provide_font() -> None:
    """Put a font where Ultralytics looks for Arial, so that its dataset check does not try to download one."""
    import matplotlib

    source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        target = Path(USER_CONFIG_DIR) / name
        if not target.exists():
            shutil.copyfile(source, target)
