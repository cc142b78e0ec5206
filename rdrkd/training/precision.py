"""Mixed precision as the spec requests it, on any device.

Ultralytics supports it on CUDA only, and tests fp16 by downloading a model and comparing its detections; a training
machine may have no network. While a trainer runs, this module replaces its autocast.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from rdrkd.errors import MachineError
from rdrkd.ultralytics_adapter import engine_trainer

Amp = bool | Literal["bf16", "fp16"]
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(amp: Amp, device: torch.device) -> torch.dtype | None:
    """Return the type of mixed precision of a training; None: fp32 throughout.

    Raises:
        MachineError: bf16 was requested on a GPU without it.

    >>> dtype_of(True, torch.device("cpu")), dtype_of("bf16", torch.device("cpu"))
    (None, torch.bfloat16)
    """
    if not isinstance(amp, str):
        return torch.float16 if amp and _has_fp16(device) else None
    if amp == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise MachineError(f"expected a GPU with bf16 for amp `bf16`, got {torch.cuda.get_device_name(device)}")
    return _TYPES[amp]


def scaler(dtype: torch.dtype | None, device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaler: fp16's gradients underflow without one, bf16 has fp32's range."""
    return torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)


@contextmanager
def precision(dtype: torch.dtype | None) -> Iterator[None]:
    """Make Ultralytics' trainer compute in `dtype` within the context."""

    def autocast(_enabled: Any, device: str = "cuda") -> torch.autocast:
        return torch.autocast(device, dtype=dtype, enabled=dtype is not None)

    before, engine_trainer.autocast = engine_trainer.autocast, autocast
    try:
        yield
    finally:
        engine_trainer.autocast = before


def slowdown(dtype: torch.dtype, device: torch.device) -> float:
    """Return the time of a convolution, forward and backward, relative to fp32.

    A CPU without instructions for the type emulates it in software, some thirty times as slowly; others gain. Only a
    measurement shows which.
    """
    layer = nn.Conv2d(32, 32, kernel_size=3, padding=1, device=device)
    images = torch.rand(2, 32, 32, 32, device=device)

    def seconds(enabled: bool) -> float:
        began = time.perf_counter()
        with torch.autocast(device.type, dtype=dtype, enabled=enabled):
            total = layer(images).float().square().mean()
        total.backward()
        return time.perf_counter() - began

    return min(seconds(True) for _ in range(4)) / min(seconds(False) for _ in range(4))  # the first one warms up


def _has_fp16(device: torch.device) -> bool:
    """Compute capability 7.0 (Volta) and up has the units; the 16xx cards that Ultralytics refuses are 7.5 TU11x."""
    if device.type != "cuda" or "GTX 16" in torch.cuda.get_device_name(device):
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)
