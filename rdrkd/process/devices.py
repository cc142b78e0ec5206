"""Which devices a run works on: one, or a list of them with one rank each."""

import re

import torch

from rdrkd.errors import MachineError

CPU = "cpu"
_EXPECTED = (
    "expected as device `cpu`, a GPU's number, or a list of one kind: different GPUs (`0,1`), or `cpu,cpu`; "
    "`cuda` and `cuda:0` are GPU 0, and `mps`, `npu` and `xpu` other makers' devices"
)
# Other devices that Ultralytics supports; it checks itself whether they exist. -1 is an idle GPU.
_OTHERS = re.compile(r"mps(:0)?|(npu|xpu)(:\d+)?|-1")


def devices_of(text: str | None) -> tuple[str, ...]:
    """Parse a device option; work of a single process runs on the first entry.

    Args:
        text: one device in Ultralytics' way, or a list separated by commas; None for the first GPU, or the CPU where
            there is none.

    Raises:
        MachineError: an entry is empty or not a device, GPUs and CPU are mixed, or a GPU is repeated or missing.

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
        there = f"it has {', '.join(map(str, range(count)))}" if count else "torch finds none: use `cpu`"
        raise MachineError(f"expected GPUs of this machine, got {absent[0]}; {there}")
    return entries


def _number(entry: str) -> str:
    """Normalise a GPU's number."""
    number = "0" if entry == "cuda" else entry.removeprefix("cuda:")
    return str(int(number)) if number.isdecimal() else entry
