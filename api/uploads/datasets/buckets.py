"""Import datasets from bucket prefixes that the operator allows: pack their objects, or copy a single archive.

A client names `s3://bucket/prefix`, an allowed prefix or one below it. S3 names are not paths: one with `..` or an
empty part is refused, since it would become a path when the archive is unpacked. An object that changes between
inspection and copy is also refused, by its ETag.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any, cast

import obstore
from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import S3Store

from api.errors import (
    ApiError,
    PathNotAllowed,
    TooLarge,
    Unavailable,
    UnknownReference,
    Unprocessable,
    UnusableReference,
)
from api.settings import Settings
from api.storage import CHUNK
from api.storage.bucket import IMPATIENT, PATIENT, Bucket
from api.storage.open import access_by, access_of
from api.tables.uploads import SUFFIXES, suffix_of
from api.uploads.datasets import packing
from rdrkd.suffixes import is_kept

WHERE = "/url"
MOST_NAME = 200
MOST = 200_000  # objects, as of the entries of an archive (`rdrkd.data.limits`)
SMALL = 2**22  # bytes; such objects are fetched whole, several at a time: each costs a round trip
AT_ONCE = 8


class BucketSource:
    """Inspected objects (see `Source`): loose files, or one archive."""

    def __init__(self, store: S3Store, objects: Sequence[Any], name: str) -> None:
        self._store, self._objects = store, objects
        self.size = sum(each["size"] for each in objects)
        archive = suffix_of(name, SUFFIXES["dataset"]) if [each["path"] for each in objects] == [name] else None
        self._is_archive = archive is not None
        self.suffix = archive or packing.SUFFIX
        self.filename = (name if archive else f"{name}{packing.SUFFIX}")[-MOST_NAME:]

    def copy(self, sink: packing.Sink, most: int) -> None:
        """See `Source`."""
        if self._is_archive:
            bounded = packing.Bounded(sink, most)
            for chunk in self._chunks(self._objects[0]):
                bounded.write(chunk)
            return
        with packing.new_tar(sink, most) as tar, ThreadPoolExecutor(AT_ONCE) as pool:
            coming: deque[Future[bytes] | None] = deque()
            left = iter(self._objects)
            for each in self._objects:
                while len(coming) < AT_ONCE and (ahead := next(left, None)) is not None:
                    coming.append(pool.submit(self._whole, ahead) if ahead["size"] <= SMALL else None)
                whole = coming.popleft()
                file = BytesIO(whole.result()) if whole is not None else _File(self._chunks(each))
                packing.add(tar, each["path"], each["size"], cast(IO[bytes], file))

    def _whole(self, each: Any) -> bytes:
        return b"".join(self._chunks(each))

    def _chunks(self, each: Any) -> Iterator[bytes]:
        """Yield the content of an object, which must not have changed since it was inspected."""
        with _translated():
            try:
                got = obstore.get(self._store, each["path"])
                if _version(got.meta) != _version(each):
                    raise _changed(each)
                size = 0
                for chunk in got.stream(CHUNK):
                    size += len(chunk)
                    yield bytes(chunk)
                if size != each["size"]:
                    raise _changed(each)
            except FileNotFoundError as error:
                raise _changed(each) from error


def _version(each: Any) -> tuple[int, str]:
    return each["size"], (each["e_tag"] or "").strip('"')  # which some servers write with quotes, but not in lists


class _File:
    """Chunks as a file that a tar reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def read(self, size: int) -> bytes:
        while len(self._left) < size and (chunk := next(self._chunks, b"")):
            self._left += chunk
        given, self._left = self._left[:size], self._left[size:]
        return given


def look(settings: Settings, asked: str, patient: bool) -> BucketSource:
    """Inspect the requested source (see `open_source`)."""
    bucket, parts, is_prefix = _find(settings.dataset_buckets, asked)
    most = settings.max_dataset_bytes
    archive = bool(parts) and not is_prefix and suffix_of(parts[-1], SUFFIXES["dataset"]) is not None
    store = _open(settings, bucket, parts[:-1] if archive else parts, patient)
    name = parts[-1] if parts else bucket
    with _translated():
        try:
            objects = [obstore.head(store, name)] if archive else _loose(store, most)
        except FileNotFoundError:
            objects = []
    if not objects:
        what = "an archive" if archive else "objects of images and labels"
        raise _refused(UnknownReference, f"expected {what}, got nothing there: {asked[:200]!r}")
    source = BucketSource(store, objects, name)
    if source.size > most:
        raise TooLarge(f"expected at most {most} bytes, got {source.size}")
    return source


def _find(allowed: Sequence[str], asked: str) -> tuple[str, list[str], bool]:
    """Return the bucket, the parts of the key, and whether they are explicitly a prefix."""
    address = asked.removesuffix("/")
    bucket, *parts = address.removeprefix("s3://").split("/")
    if not packing.are_plain((bucket, *parts)):
        raise _refused(PathNotAllowed, f"expected s3://bucket/prefix with plain names, got {asked[:200]!r}")
    if not any(f"{address}/".startswith(f"{each}/") for each in allowed):
        names = ", ".join(allowed) or "none at all"
        raise _refused(PathNotAllowed, f"expected what the operator allows ({names}) or below, got {asked[:200]!r}")
    return bucket, parts, asked.endswith("/")


def _loose(store: S3Store, most: int) -> list[Any]:
    """List the objects that a dataset needs, sorted; skip hidden and other ones.

    Raises:
        PathNotAllowed: a name would lead elsewhere.
        TooLarge: there are too many, or too large ones.
    """
    found, size = [], 0
    for page in obstore.list(store, chunk_size=1000):
        for each in page:
            if not packing.are_plain(each["path"].split("/")):
                raise _refused(PathNotAllowed, f"expected objects with plain names, got {each['path'][:200]!r}")
            if is_kept(each["path"]):
                found.append(each)
                size += each["size"]
        if len(found) > MOST or size > most:
            raise TooLarge(f"expected at most {MOST} objects of {most} bytes in all, got more")
    return sorted(found, key=lambda each: str(each["path"]))


def _open(settings: Settings, bucket: str, parts: Sequence[str], patient: bool) -> S3Store:
    access = access_of(settings)
    if settings.dataset_s3_access_key_id is not None:
        access = access_by(
            settings.dataset_s3_access_key_id,
            settings.dataset_s3_secret_access_key,
            settings.dataset_s3_session_token,
        )
    endpoint, region = settings.dataset_s3_endpoint, settings.dataset_s3_region
    described = Bucket(bucket, "/".join(parts), endpoint, None, region, access, presigned_seconds=0)
    return described.open(PATIENT, 120) if patient else described.open(IMPATIENT, 10)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn obstore's errors, which quote whole responses, into ours, except "not found"."""
    try:
        yield
    except InvalidPathError as error:
        detail = "expected objects with plain names, got one with `..`, `.`, an empty part or a control character"
        raise _refused(PathNotAllowed, detail) from error
    except BaseError as error:
        detail = str(error).partition("\n")[0][:300]
        raise Unavailable(f"expected a response from the bucket, got: {detail}") from error


def _changed(each: Any) -> ApiError:
    detail = f"expected objects that stay as they are, got one that has changed: {each['path'][:200]!r}"
    return _refused(UnusableReference, detail)


def _refused(kind: type[Unprocessable], detail: str) -> ApiError:
    return packing.refused(kind, WHERE, detail)
