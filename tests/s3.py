"""S3 servers of two makes as real processes: one with all that S3 does, one that checks every signature."""

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

ACCESS_KEY, SECRET = "RDRKDTESTSKEY", "a secret of the tests"
NAMES = itertools.count()


class S3:
    """A running server; every test gets an empty bucket of its own."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def settings(self, prefix: str = "some/where", **changes: Any) -> dict[str, Any]:
        """Give settings of a service whose files lie in a bucket that is made for it."""
        name = f"bucket-{os.getpid()}-{next(NAMES)}"
        self.make(name)
        keys = {"s3_access_key_id": ACCESS_KEY, "s3_secret_access_key": SECRET}
        return {"storage_url": f"s3://{name}/{prefix}", "s3_endpoint": self.endpoint} | keys | changes

    def make(self, bucket: str) -> None:
        from botocore.session import Session

        client = Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET,
        )
        client.create_bucket(Bucket=bucket)
        client.close()


@contextmanager
def running(*command: str | Path, log: Path) -> Iterator[S3]:
    """Start a server on a free port, which takes the place of `PORT` in its command."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part).replace("PORT", str(port)) for part in command], stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + 30
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield S3(port)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/", timeout=5, trust_env=False).status_code < 500
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """Moto's server: conditions, ranges and parts as S3 has them; it believes every signature."""
    log = tmp_path_factory.mktemp("moto") / "log"
    with running(sys.executable, "-W", "ignore", "-m", "moto.server", "-p", "PORT", log=log) as server:
        yield server


@pytest.fixture(scope="session")
def strict_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """Rclone's gateway: checks signatures and their end; it has no conditions, and answers a range with 200."""
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "data").mkdir()
    rclone = Path(sys.executable).with_name("rclone")
    options = ("--auth-key", f"{ACCESS_KEY},{SECRET}", "--addr", "127.0.0.1:PORT", "--config", folder / "config")
    with running(rclone, "serve", "s3", *options, folder / "data", log=folder / "log") as server:
        yield server
