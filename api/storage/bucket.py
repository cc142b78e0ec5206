"""The store as a bucket of S3 or a compatible server: sha256 is verified in both directions.

Incoming files are spooled in a local folder, since only a complete file has the hash that is its key. They are then
sent in parts, few of them in memory at a time; an object becomes visible only when complete. Parts of a killed upload
stay invisible in the bucket until a lifecycle rule removes them (`docs/storage.md`).
"""

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from api.storage.cache import Cache
from api.storage.interface import Reader
from api.storage.keys import checked, upload_key
from api.storage.signing import Access, presign
from api.storage.spool import ABANDONED_SECONDS, Incoming, Spool, pour
from api.storage.stored import CHUNK, Listed, StorageUnreachable, Stored

PART = 2**24  # bytes; of at most 10 000 parts, so a file may have 160 GiB
PARTS_AT_ONCE = 2
READ_AHEAD = 2**23  # bytes, of a file that is served
# A constant delay: a request that waits for a bucket continues within seconds of its return.
BACKOFF = {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=2), "base": 2}
PATIENT = {"max_retries": 6, "retry_timeout": timedelta(seconds=60), "backoff": BACKOFF}
IMPATIENT = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


@dataclass(frozen=True)
class Bucket:
    """The location of a bucket and how to connect to it."""

    name: str
    prefix: str
    endpoint: str | None  # None: AWS
    download_endpoint: str | None  # the endpoint for clients
    region: str
    access: Access | None  # None: the machine's role
    presigned_seconds: int

    def open(self, retry: dict[str, Any], answer_seconds: float) -> S3Store:
        """Open a connection."""
        config: dict[str, Any] = {"region": self.region, "checksum_algorithm": "SHA256"}
        if self.endpoint is not None:
            config["endpoint"] = self.endpoint
        if self.access is not None:
            config |= {"access_key_id": self.access.key_id, "secret_access_key": self.access.secret}
            config |= {"session_token": self.access.token} if self.access.token else {}
        options: dict[str, Any] = {
            "allow_http": (self.endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=answer_seconds),
            "timeout": timedelta(days=1),  # for a whole response, however large
        }
        made: Any = S3Store  # its keyword arguments are typed by literals
        store: S3Store = made(
            self.name, prefix=self.prefix or None, config=config, client_options=options, retry_config=retry
        )
        return store

    def address(self, key: str) -> str:
        """Return the URL of an object for clients."""
        base = self.download_endpoint or f"https://s3.{self.region}.amazonaws.com"
        return "/".join(part for part in (base.rstrip("/"), self.name, self.prefix, key) if part)


class BucketStorage:
    """Objects under keys."""

    def __init__(self, bucket: Bucket, spool: Spool, cache: Cache) -> None:
        self.bucket, self.cache = bucket, cache
        self._spool = spool
        self._store = bucket.open(PATIENT, 120)
        self._probe = bucket.open(IMPATIENT, 5)

    def incoming(self) -> AbstractContextManager[Incoming]:
        """See `Storage`."""
        return self._spool.incoming(lambda file, key, sha256: self._keep(Path(file.name), key, sha256))

    def incoming_path(self, name: str) -> Path:
        """See `Storage`."""
        return self._spool.path(name)

    def free(self) -> int:
        """See `Storage`: for the spool, since a bucket is unlimited."""
        return self._spool.free()

    def put(self, stream: BinaryIO, suffix: str) -> Stored:
        """See `Storage`."""
        with self.incoming() as incoming:
            pour(stream, incoming)
            return incoming.keep(suffix)

    def put_file(self, path: Path, key: str) -> Stored:
        """See `Storage`."""
        sha256, size, new = self._send(path, checked(key))
        return Stored(key, sha256, size, new)

    def adopt(self, path: Path, sha256: str, suffix: str) -> Stored:
        """See `Storage`."""
        key = upload_key(sha256, suffix)
        return Stored(key, sha256, path.stat().st_size, self._keep(path, key, sha256))

    def exists(self, key: str) -> bool:
        """See `Storage`."""
        return self._size(checked(key)) is not None

    def verify(self, key: str, sha256: str) -> bool:
        """See `Storage`; reads the whole object."""
        return self._read(key, sha256, lambda _: None)

    def fetch(self, key: str, sha256: str, folder: Path) -> Path | None:
        """See `Storage`; uses the cache."""
        suffix = PurePosixPath(checked(key)).suffix
        target = folder / f"{sha256}{suffix}"
        laid = self.cache.lay(sha256, suffix, target, lambda coming: self.copy_to(key, sha256, coming))
        return target if laid else None

    def copy_to(self, key: str, sha256: str, target: Path) -> bool:
        """See `Storage`."""
        with target.open("wb") as file:
            whole = self._read(key, sha256, file.write)
        if not whole:
            target.unlink()
        return whole

    def local(self, key: str) -> Path | None:
        """See `Storage`; objects are never on this machine."""
        checked(key)
        return None

    def presigned(self, key: str, media_type: str, disposition: str) -> str | None:
        """See `Storage`; None without access keys, because a machine's role cannot sign URLs."""
        if self.bucket.access is None:
            return None
        answer = {"content-type": media_type, "content-disposition": disposition}
        bucket = self.bucket
        address, seconds = bucket.address(checked(key)), bucket.presigned_seconds
        return presign(self.bucket.access, address, bucket.region, seconds, answer, datetime.now(UTC))

    def reader(self, key: str) -> AbstractAsyncContextManager[Reader]:
        """See `Storage`."""
        return self._reader(checked(key))

    def delete(self, key: str) -> None:
        """See `Storage`."""
        with _translated():
            below = [each["path"] for page in obstore.list(self._store, checked(key)) for each in page]
            obstore.delete(self._store, [key, *below])

    def stored(self) -> Iterator[Listed]:
        """See `Storage`."""
        with _translated():
            for page in obstore.list(self._store, chunk_size=1000):
                for each in page:
                    yield Listed(each["path"], time.time() - each["last_modified"].timestamp())

    def sweep(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """See `Storage`."""
        return self._spool.sweep(older_than_seconds)

    def check(self) -> None:
        """See `Storage`: list an empty prefix, which verifies bucket and keys."""
        with _translated():
            obstore.list_with_delimiter(self._probe, "readyz")

    def _size(self, key: str) -> int | None:
        with _translated():
            try:
                return int(obstore.head(self._store, key)["size"])
            except FileNotFoundError:
                return None

    def _keep(self, path: Path, key: str, sha256: str) -> bool:
        """Store a file under the key of its content, unless it exists."""
        if self._size(key) == path.stat().st_size:
            return False
        return self._send(path, key, sha256)[2]

    def _send(self, path: Path, key: str, expected: str | None = None) -> tuple[str, int, bool]:
        """Send a file; return its hash and size, and whether the key was unused, if the server can tell.

        Args:
            path: the file.
            key: where it goes.
            expected: the hash in the key: a file with another hash is not sent, and an existing object is kept.

        Raises:
            OSError: the file cannot be read, or has changed.
        """
        digest, size = hashlib.sha256(), path.stat().st_size
        with path.open("rb") as file, _translated(writing=True):
            if size > PART:  # parts: S3 has no condition for them in obstore, and the same content does no harm
                parts = _hashed(file, digest, expected)
                obstore.put(self._store, key, parts, chunk_size=PART, max_concurrency=PARTS_AT_ONCE)
                return digest.hexdigest(), size, True
            content = b"".join(_hashed(file, digest, expected))
            try:
                obstore.put(self._store, key, content, mode="overwrite" if expected is None else "create")
            except AlreadyExistsError:
                return digest.hexdigest(), len(content), False
        return digest.hexdigest(), len(content), True

    def _read(self, key: str, sha256: str, take: Callable[[bytes], object]) -> bool:
        digest = hashlib.sha256()
        with _translated():
            try:
                for chunk in obstore.get(self._store, checked(key)).stream(CHUNK):
                    digest.update(chunk)
                    take(chunk)
            except FileNotFoundError:
                return False
        return digest.hexdigest() == sha256

    @asynccontextmanager
    async def _reader(self, key: str) -> AsyncIterator[Reader]:
        yield _Bytes(await obstore.open_reader_async(self._store, key, buffer_size=READ_AHEAD))


class _Bytes:
    """A reader of obstore that returns plain bytes, as a server needs them."""

    def __init__(self, reader: "obstore.AsyncReadableFile") -> None:
        self._reader = reader

    async def read(self, size: int) -> bytes:
        return bytes(await self._reader.read(size))

    async def seek(self, offset: int) -> int:
        return int(await self._reader.seek(offset))


def _hashed(file: IO[bytes], digest: Any, expected: str | None) -> Iterator[bytes]:
    """Yield a file in pieces and hash them; an exception at the end aborts the upload."""
    for chunk in iter(partial(file.read, CHUNK), b""):
        digest.update(chunk)
        yield chunk
    if expected is not None and digest.hexdigest() != expected:
        raise OSError(f"expected a spooled file with the sha256 {expected}, got {digest.hexdigest()}")


@contextmanager
def _translated(writing: bool = False) -> Iterator[None]:
    """Turn exceptions of obstore, which quote whole responses, into our own.

    Args:
        writing: then "not found" is the bucket itself.
    """
    try:
        yield
    except AlreadyExistsError:
        raise
    except (BaseError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and not (writing and error.errno is None):
            raise
        detail = str(error).partition("\n")[0][:300]
        raise StorageUnreachable(f"expected a response from the bucket, got: {detail}") from error
