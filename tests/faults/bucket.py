"""PostgreSQL, Valkey and, for the files, a bucket, which each member of the service reaches through a proxy."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.faults.backends import Servers
from tests.faults.proxy import Address
from tests.s3 import ACCESS_KEY, SECRET, running

BUCKET = "rdrkd"


class Bucket(Servers):
    """Three servers."""

    name = "bucket"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._open = ExitStack()
        command = (sys.executable, "-W", "ignore", "-m", "moto.server", "-p", "PORT")
        self._server = self._open.enter_context(running(*command, log=folder / "moto.log"))
        self._server.make(BUCKET)
        self.objects: Address = ("127.0.0.1", int(self._server.endpoint.rpartition(":")[2]))

    def storage_through(self, host: str, port: int) -> dict[str, Any]:
        """Return the settings of a service that reaches the bucket there."""
        keys = {"s3_access_key_id": ACCESS_KEY, "s3_secret_access_key": SECRET}
        return {"storage_url": f"s3://{BUCKET}/some/where", "s3_endpoint": f"http://{host}:{port}"} | keys

    def close(self) -> None:
        self._open.close()
        super().close()
