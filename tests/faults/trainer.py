"""A simulated trainer: the one of the worker's tests, which accepts every upload and also draws studies' reports."""

import json
import signal
import sys
from pathlib import Path

from rdrkd.process.die_with_parent import die_with_parent
from tests.worker.trainer import train


def take_memory(*_: object) -> None:
    """Take more and more, touched, until the kernel ends this process."""
    held = []
    while True:
        held.append(bytearray(b"x") * 2**24)


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGUSR1, take_memory)
    if sys.argv[1] == "inspect":
        size = Path(sys.argv[2]).stat().st_size
        print(json.dumps({"kind": "dataset", "ok": True, "sha256": "", "size": size, "problems": []}))
    else:
        spec = {"labels": {"seconds": "0.3"}, "train": {"epochs": 1}} | json.loads(Path(sys.argv[2]).read_text())
        train(spec, Path(sys.argv[4]))
