"""The only importer of Ultralytics: every name that the library uses from it, imported in a safe environment.

Ultralytics has no stubs and reads its settings from the environment at import, so no other module imports it.
"""

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rdrkd.errors import MachineError
from rdrkd.process import environment

environment.apply()
logging.getLogger("ultralytics").addFilter(environment.warns)  # its import announces the settings file that it makes

import torch  # noqa: E402 - the environment must be set before these imports
from torch import Tensor  # noqa: E402
from torch._functorch import config as functorch_config  # noqa: E402
from torch.utils._triton import has_triton  # noqa: E402
from ultralytics import YOLO  # noqa: E402
from ultralytics import __version__ as _version  # noqa: E402
from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.data.augment import LetterBox  # noqa: E402
from ultralytics.data.build import InfiniteDataLoader  # noqa: E402
from ultralytics.data.dataset import YOLODataset  # noqa: E402
from ultralytics.engine import trainer as engine_trainer  # noqa: E402
from ultralytics.engine.exporter import Exporter  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator  # noqa: E402
from ultralytics.nn.autobackend import AutoBackend  # noqa: E402
from ultralytics.nn.distill_model import DistillationModel, FeatureHook  # noqa: E402
from ultralytics.nn.modules.conv import Conv  # noqa: E402
from ultralytics.nn.modules.head import Detect  # noqa: E402
from ultralytics.nn.tasks import DetectionModel, torch_safe_load, yaml_model_load  # noqa: E402
from ultralytics.utils import ASSETS_URL, DEFAULT_CFG_KEYS, LOGGER, RANK, USER_CONFIG_DIR  # noqa: E402
from ultralytics.utils.downloads import safe_download  # noqa: E402
from ultralytics.utils.metrics import box_iou  # noqa: E402
from ultralytics.utils.nms import non_max_suppression  # noqa: E402
from ultralytics.utils.tal import dist2bbox, make_anchors  # noqa: E402
from ultralytics.utils.torch_utils import TORCH_2_13, copy_attr, get_flops, unwrap_model  # noqa: E402

logging.getLogger("ultralytics").removeFilter(environment.warns)
os.environ["KINETO_LOG_LEVEL"] = "6"  # Ultralytics sets 5, at which torch's profiler still prints two lines

ULTRALYTICS_VERSION: str = _version

__all__ = [
    "ASSETS_URL",
    "DEFAULT_CFG_KEYS",
    "LOGGER",
    "RANK",
    "TORCH_2_13",
    "ULTRALYTICS_VERSION",
    "YOLO",
    "AutoBackend",
    "Conv",
    "Detect",
    "DetectionModel",
    "DetectionTrainer",
    "DetectionValidator",
    "DistillationModel",
    "Exporter",
    "FeatureHook",
    "InfiniteDataLoader",
    "LetterBox",
    "YOLODataset",
    "box_iou",
    "branches",
    "check_compiler",
    "compiled",
    "copy_attr",
    "decode_boxes",
    "default_arguments",
    "engine_trainer",
    "get_flops",
    "non_max_suppression",
    "provide_font",
    "safe_download",
    "torch_safe_load",
    "unwrap_model",
    "yaml_model_load",
]  # fmt: skip


def default_arguments(**overrides: Any) -> Any:
    """Return Ultralytics' default arguments, as a trainer passes them to its model."""
    return get_cfg(overrides=overrides)


def branches(output: Any) -> dict[str, dict[str, Any]]:
    """Return the prediction dicts of a Detect output by branch, in any mode and for any head.

    Args:
        output: `{boxes, scores, feats}` or, end-to-end, `{one2many, one2one}` of such; in eval with the decoded
            predictions before it.

    Returns:
        `one2many` (a dense head has only this one) and `one2one` -> `boxes` (B, 4R, A) distribution logits, `scores`
        (B, nc, A) class logits, `feats` list of (B, C, H, W).
    """
    raw: dict[str, Any] = output[1] if isinstance(output, tuple) else output
    return raw if "one2many" in raw else {"one2many": raw}


def check_compiler(device: torch.device) -> None:
    """Refuse a machine that cannot compile for a device.

    Raises:
        MachineError: what torch.compile needs on this machine is missing.
    """
    if device.type == "cuda":
        if not has_triton():
            raise MachineError("expected a working Triton for train.compile on a GPU, got none")
    elif shutil.which(os.environ.get("CXX", "g++")) is None:
        raise MachineError("expected a C++ compiler (g++ or $CXX) for train.compile, got none")


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Return a function under torch.compile.

    Raises:
        MachineError: what torch.compile needs on this machine is missing.
    """
    check_compiler(device)
    functorch_config.donated_buffer = False  # a probe goes backward through a graph that is still needed
    return torch.compile(function)


def decode_boxes(prediction: Mapping[str, Any], strides: Tensor) -> Tensor:
    """Decode a prediction dict to boxes in fp32.

    Args:
        prediction: one of the dicts that `branches` returns.
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


def provide_font() -> None:
    """Provide a font at the path where Ultralytics looks for Arial, so that its dataset check does not download one."""
    import matplotlib

    source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        target = Path(USER_CONFIG_DIR) / name
        if not target.exists():
            shutil.copyfile(source, target)
