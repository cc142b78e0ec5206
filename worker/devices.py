"""The GPUs that a worker may use, according to nvidia-smi, since a worker never loads torch."""

import logging
import os
import shutil
import subprocess
from typing import Any

log = logging.getLogger(__name__)

MIB = 2**20
PATIENCE_SECONDS = 20


def devices() -> list[dict[str, Any]]:
    """Return name and memory in bytes of each GPU that this process's trainers see; none without a driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    tool = shutil.which("nvidia-smi")
    if tool is None or visible in ("", "-1"):
        return []
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    command += [f"--id={visible}"] if visible is not None else []
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True).stdout
        return [_device(line) for line in listed.splitlines() if line.strip()]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("nvidia-smi reports no devices: %s", error)
        return []


def cpus() -> int:
    """Count the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device(line: str) -> dict[str, Any]:
    """Parse one line of output.

    >>> _device("NVIDIA H100 80GB HBM3, 81559")
    {'name': 'NVIDIA H100 80GB HBM3', 'memory': 85520809984}
    """
    name, _, memory = line.rpartition(",")
    return {"name": name.strip()[:200], "memory": int(memory) * MIB}
