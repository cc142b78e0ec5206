"""What the whole embedded service costs while nobody asks: `rdrkd up`, that is API, reaper and two workers.

`python -m tests.bench.idle` prints it; `make bench-service` measures it with everything else.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

REST, WATCHED = 60, 40  # seconds: until everything has started and settled, and of the measurement


def embedded(rest: float = REST, watched: float = WATCHED) -> dict[str, Any]:
    """Start the embedded service, let it rest, and return the share of a core that each of its processes takes."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "var"
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}

        def rdrkd(*arguments: str) -> None:
            command = [sys.executable, "-m", "rdrkd", *arguments, "--data-dir", str(data_dir)]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

        rdrkd("up", "--port", "0", "--detach")
        try:
            up = psutil.Process(int((data_dir / "up.pid").read_text().split()[0]))
            time.sleep(rest)
            before = _processor_seconds(up)
            time.sleep(watched)
            after = _processor_seconds(up)
        finally:
            rdrkd("down")
    shares = {name: round((after[name] - before.get(name, 0)) / watched, 4) for name in sorted(after)}
    return {"idle_cpu": round(sum(shares.values()), 4), "by_process": shares, "seconds": watched}


def _processor_seconds(up: psutil.Process) -> dict[str, float]:
    """Return what each process of the service has used so far, by its command."""
    used: dict[str, float] = {}
    for process in (up, *up.children(recursive=True)):
        times = process.cpu_times()
        words = process.cmdline()
        name = " ".join(words[words.index("-m") + 1 :][:3]).split(" --data-dir")[0]
        used[name] = used.get(name, 0) + times.user + times.system
    return used


if __name__ == "__main__":
    print(json.dumps(embedded(), indent=1))
