"""Which devices a run works on: one, or a list of them with one rank each."""

import re

from rdrkd.errors import MachineError

CPU = "cpu"
_EXPECTED = (
    "expected as device `cpu`, a GPU's number, or a list of one kind: different GPUs (`0,1`), or `cpu,cpu`; "
    "`cuda` and `cuda:0` are GPU 0, and `mps`, `npu` and `xpu` other makers' devices"
)
# Other devices that Ultralytics supports. -1 is an idle GPU.
_OTHERS = re.compile(r"mps(:0)?|(npu|xpu)(:\d+)?|-1")


def devices_of(text: str | None) -> tuple[str, ...]:
    """Parse a device option; work of a single process runs on the first entry.

    Args:
        text: one device in Ultralytics' way, or a list separated by commas; None for the first GPU, or the CPU where
            there is none.

    Raises:
        MachineError: an entry is empty or not a device, GPUs and CPU are mixed, a GPU is repeated, or this machine
            lacks a device.

    >>> devices_of("cpu"), devices_of("cpu, cpu")
    (('cpu',), ('cpu', 'cpu'))
    """
    if text is None:
        import torch  # here, as below: a wrong device is refused without the seconds that this takes

        return ("0" if torch.cuda.is_available() else CPU,)
    entries = tuple(_number(entry.strip().lower()) for entry in text.split(","))
    gpus = [entry for entry in entries if entry.isdecimal()]
    if "" in entries:
        raise MachineError(f"{_EXPECTED}, got an empty entry in {text!r}")
    if unknown := [entry for entry in entries if entry not in (CPU, *gpus) and not _OTHERS.fullmatch(entry)]:
        raise MachineError(f"{_EXPECTED}, got {unknown[0]!r}; this machine has {_here()}")
    if len(entries) > 1 and set(entries) != {CPU} and len(gpus) != len(entries):
        raise MachineError(f"{_EXPECTED}, got {text!r}")
    if len(set(gpus)) != len(gpus):
        raise MachineError(f"{_EXPECTED}, got a GPU twice in {text!r}")
    if set(entries) != {CPU} and (absent := [entry for entry in entries if not _is_here(entry)]):
        raise MachineError(f"expected a device of this machine, got {absent[0]}; it has {_here()}")
    return entries


def _is_here(entry: str) -> bool:
    import torch

    kind, _, number = entry.partition(":")
    if kind.lstrip("-").isdecimal():
        return max(int(kind), 0) < torch.cuda.device_count()
    if kind == "mps":
        return torch.backends.mps.is_available()
    backend = getattr(torch, kind, None)  # of NPUs, only with their makers' package
    return backend is not None and backend.is_available() and int(number or 0) < backend.device_count()


def _here() -> str:
    """Return the devices of this machine."""
    import torch

    gpus = [*map(str, range(torch.cuda.device_count())), *(kind for kind in ("mps", "npu", "xpu") if _is_here(kind))]
    return ", ".join(f"`{each}`" for each in (CPU, *gpus)) + ("" if gpus else " only: torch finds no GPU")


def _number(entry: str) -> str:
    """Normalise a GPU's number."""
    number = "0" if entry == "cuda" else entry.removeprefix("cuda:")
    return str(int(number)) if number.isdecimal() else entry
