"""Load on one address: by wrk where it is installed, and else from here, with the client's own costs in the figures."""

import asyncio
import re
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Figures:
    """What a load gave."""

    per_second: float
    p50: float  # seconds
    p99: float
    refused: int  # answers that were neither 2xx nor 3xx


def load(port: int, path: str, headers: dict[str, str], connections: int, seconds: float) -> Figures:
    """Ask for an address over so many connections, each request after the answer to the one before."""
    if shutil.which("wrk") is None:
        return asyncio.run(_own(port, path, headers, connections, seconds))
    asked = [argument for name, value in headers.items() for argument in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "30s"]
    command += [*asked, f"http://127.0.0.1:{port}{path}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert rate, told
    return Figures(float(rate[1]), _percentile(told, 50), _percentile(told, 99), int(refused[1]) if refused else 0)


def _percentile(told: str, which: int) -> float:
    found = re.search(rf"\s{which}%\s+([\d.]+)(us|ms|s|m)", told)
    return float(found[1]) * _SECONDS[found[2]] if found else float("nan")


async def _own(port: int, path: str, headers: dict[str, str], connections: int, seconds: float) -> Figures:
    fields = {"Host": f"127.0.0.1:{port}", **headers}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    request, end = ("\r\n".join(lines) + "\r\n\r\n").encode(), time.monotonic() + seconds
    took, refused = list[float](), 0

    async def ask() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < end:
            began = time.monotonic()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            took.append(time.monotonic() - began)
            refused += head.split()[1] not in (b"200", b"304")
        writer.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    cuts = statistics.quantiles(took, n=100)
    return Figures(len(took) / seconds, cuts[49], cuts[98], refused)
