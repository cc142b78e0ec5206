"""Which devices a run works on: one, or a list of them with one rank each."""

import re

import torch

from rdrkd.errors import MachineError

CPU = "cpu"
_EXPECTED = (
    "expected as device `cpu`, a GPU's number, or a list of one kind: different GPUs (`0,1`), or `cpu,cpu`; "
    "`cuda` and `cuda:0` are GPU 0, and `mps`, `npu` and `xpu` other makers' devices"
)
# What Ultralytics trains on beside CPU and GPUs: its to judge whether it is there; -1 is the GPU that is idle.
_OTHERS = re.compile(r"mps(:0)?|(npu|xpu)(:\d+)?|-1")


def devices_of(text: str | None) -> tuple[str, ...]:
    """Read a device option; its first entry is where one process alone works.

    Args:
        text: one device in Ultralytics' way, or a list separated by commas; None for the first GPU, or the CPU where
            there is none.

    Raises:
        MachineError: an entry is empty or no device's name, GPUs and CPU are mixed, a GPU is there twice or not at
            all.

    >>> devices_of("cpu"), devices_of("cpu, cpu"), devices_of("mps")
    (('cpu',), ('cpu', 'cpu'), ('mps',))
    """
    if text is None:
        return ("0" if torch.cuda.is_available() else CPU,)
    entries = tuple(_number(entry.strip().lower()) for entry in text.split(","))
    gpus = [entry for entry in entries if entry.isdecimal()]
    if "" in entries:
        raise MachineError(f"{_EXPECTED}, got an empty entry in {text!r}")
    if unknown := [entry for entry in entries if entry not in (CPU, *gpus) and not _OTHERS.fullmatch(entry)]:
        raise MachineError(f"{_EXPECTED}, got {unknown[0]!r}")
    if len(entries) > 1 and set(entries) != {CPU} and len(gpus) != len(entries):
        raise MachineError(f"{_EXPECTED}, got {text!r}")
    if len(set(gpus)) != len(gpus):
        raise MachineError(f"{_EXPECTED}, got a GPU twice in {text!r}")
    count = torch.cuda.device_count()
    if absent := [entry for entry in gpus if int(entry) >= count]:
        raise MachineError(f"{_EXPECTED}, got GPU {absent[0]} on a machine with {count} (they count from 0)")
    return entries


def _number(entry: str) -> str:
    """Write a GPU's number in one way."""
    number = "0" if entry == "cuda" else entry.removeprefix("cuda:")
    return str(int(number)) if number.isdecimal() else entry
