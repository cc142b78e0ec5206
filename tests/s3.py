"""Two kinds of S3 servers as real processes: one with all features of S3, and one that checks every signature."""

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

ACCESS_KEY, SECRET = "RDRKDTESTSKEY", "a secret of the tests"
NAMES = itertools.count()


class S3:
    """A running server; every test gets a separate empty bucket."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def settings(self, prefix: str = "some/where", **changes: Any) -> dict[str, Any]:
        """Return settings of a service that stores its files in a new bucket."""
        name = f"bucket-{os.getpid()}-{next(NAMES)}"
        self.make(name)
        keys = {"s3_access_key_id": ACCESS_KEY, "s3_secret_access_key": SECRET}
        return {"storage_url": f"s3://{name}/{prefix}", "s3_endpoint": self.endpoint} | keys | changes

    def make(self, bucket: str) -> None:
        with self.client() as client:
            client.create_bucket(Bucket=bucket)

    def put(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Put objects under any names, including those that our own code never uses."""
        with self.client() as client:
            for key, content in objects.items():
                client.put_object(Bucket=bucket, Key=key, Body=content)

    def fill(self, folder: Path, prefix: str) -> str:
        """Put a folder's files below a prefix of a new bucket; return its URL."""
        bucket = f"source-{os.getpid()}-{next(NAMES)}"
        self.make(bucket)
        files = [path for path in folder.rglob("*") if path.is_file()]
        self.put(bucket, {f"{prefix}/{path.relative_to(folder)}": path.read_bytes() for path in files})
        return f"s3://{bucket}/{prefix}"

    def sources(self, *addresses: str, **changes: Any) -> dict[str, Any]:
        """Return settings of a service that may import datasets from these addresses."""
        keys = {"dataset_s3_access_key_id": SecretStr(ACCESS_KEY), "dataset_s3_secret_access_key": SecretStr(SECRET)}
        return {"dataset_buckets": list(addresses), "dataset_s3_endpoint": self.endpoint} | keys | changes

    @contextmanager
    def client(self) -> Iterator[Any]:
        from botocore.session import Session

        client = Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET,
        )
        yield client
        client.close()


@contextmanager
def running(*command: str | Path, log: Path) -> Iterator[S3]:
    """Start a server on a free port, which replaces `PORT` in its command."""
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


def gateway(folder: Path) -> AbstractContextManager[S3]:
    """Start rclone's gateway on a folder."""
    (folder / "data").mkdir()
    rclone = Path(sys.executable).with_name("rclone")
    options = ("--auth-key", f"{ACCESS_KEY},{SECRET}", "--addr", "127.0.0.1:PORT", "--config", folder / "config")
    return running(rclone, "serve", "s3", *options, folder / "data", log=folder / "log")


def _answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/", timeout=5, trust_env=False).status_code < 500
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """Moto's server: it supports conditions, ranges and multipart uploads like S3, and accepts every signature."""
    log = tmp_path_factory.mktemp("moto") / "log"
    with running(sys.executable, "-W", "ignore", "-m", "moto.server", "-p", "PORT", log=log) as server:
        yield server


@pytest.fixture(scope="session")
def strict_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """Rclone's gateway: it checks signatures and their expiry, ignores conditions, and answers ranges with 200."""
    with gateway(tmp_path_factory.mktemp("rclone")) as server:
        yield server
