"""Latency of one image: torch and the exported network alternately, in one run, on one machine."""

import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rdrkd.export.networks import Network

WARM_UP = 5  # passes before timing starts


def time_side_by_side(networks: dict[str, Network], images: Sequence[Tensor], repeats: int) -> dict[str, Any]:
    """Time each network `repeats` times, alternately, so that other load on the machine slows each of them alike.

    A pass is from a normalised image in memory to raw predictions in memory; no decoding, no suppression.

    Returns:
        By network: `median_ms`, `q1_ms`, `q3_ms` and `iqr_ms`, their difference.
    """
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for n in range(WARM_UP + repeats):
        image = images[n % len(images)]
        for name, network in networks.items():
            begun = time.perf_counter()
            network(image)  # its output is on the CPU, so a GPU has finished
            if n >= WARM_UP:
                seconds[name].append(time.perf_counter() - begun)
    return {name: spread_of(each) for name, each in seconds.items()}


def spread_of(seconds: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles in milliseconds.

    >>> spread_of([0.001, 0.002, 0.003, 0.004, 0.005])
    {'median_ms': 3.0, 'q1_ms': 2.0, 'q3_ms': 4.0, 'iqr_ms': 2.0}
    """
    q1, median, q3 = (1000 * value for value in statistics.quantiles(seconds, n=4, method="inclusive"))
    spread = {"median_ms": median, "q1_ms": q1, "q3_ms": q3, "iqr_ms": q3 - q1}
    return {name: round(value, 3) for name, value in spread.items()}


def machine(device: str) -> dict[str, Any]:
    """Describe the machine on which the figures were measured; figures of different machines are not comparable."""
    on_gpu = device.isdecimal()
    return {
        "device": torch.cuda.get_device_name(int(device)) if on_gpu else "CPU",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
