"""Transfer files to and from the service with constant memory, resuming after a dropped connection."""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal

from rdrkd.client.calls import TRIES, ask, pause, refuse
from rdrkd.client.effects import Answer, Ask, Broken, Call, Headers, Piece, Progress, Sleep
from rdrkd.client.errors import Damaged, Refused, Unreachable, UploadBroken
from rdrkd.files import write_atomically

PASSING = ("upload_busy", "wrong_offset", "unavailable", "body_too_slow")  # errors after which the upload can resume
TYPE = "application/offset+octet-stream"


def upload(
    path: Path,
    kind: Literal["dataset", "model"],
    name: str | None,
    progress: Progress | None,
    resume: str | None,
    words: Mapping[str, Any] = MappingProxyType({}),
) -> Call[Any]:
    """Upload a file; return the resulting dataset or model, as JSON.

    Args:
        path: the file.
        kind: what it becomes, a dataset or a model.
        name: display name.
        progress: called as bytes are sent.
        resume: address of an interrupted upload (`UploadBroken.address`).
        words: options for reading a dataset: `lenient`, `keep`, `divide`.

    Raises:
        Refused: the service rejects it.
        UploadBroken: the connection broke too often in a row.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        length = file.seek(0, 2)
        address = resume or (yield from _announce(path, kind, name, length, _sha256(file), words))
        offset, failures = (yield from _offset(address)) if resume else 0, 0
        while True:
            try:
                answer = yield from _piece(address, Piece(file, offset, length, progress))
                return (yield from ask("GET", answer.headers["upload-result"])).json()
            except (Broken, Refused) as error:
                if isinstance(error, Refused) and error.code not in PASSING:
                    raise
                before, failures = offset, failures + 1
                yield Sleep(pause(failures))
                offset = yield from _offset(address)
                failures = 0 if offset > before else failures
                if failures >= TRIES:
                    raise UploadBroken(f"the upload of {path.name} broke off at byte {offset}", address) from error


def download(address: str, target: Path, progress: Progress | None, params: Mapping[str, str]) -> Call[Path]:
    """Download a file, check its hash against its ETag, and only then move it to `target`; return `target`.

    A partial file of an earlier call is resumed.

    Raises:
        Refused: the service refuses the download.
        Unreachable: the connection broke too often in a row.
        Damaged: the received content differs from the service's.
        OSError: the file cannot be written.
    """
    failures = 0
    while True:
        head = yield from _head(address, params)
        sha256, length = _etag(head), int(head.headers["content-length"])
        part = target.with_name(f".{target.name}.{sha256[:16]}.part")
        there = part.stat().st_size if part.exists() else 0
        try:
            if there < length:
                yield from _fetch(address, part, f'"{sha256}"', length, progress, params)
        except Broken as error:
            failures = 1 if part.stat().st_size > there else failures + 1
            if failures >= TRIES:
                raise Unreachable(f"the download of {address} broke off at byte {part.stat().st_size}") from error
            yield Sleep(pause(failures))
            continue
        with part.open("rb") as file:
            if (came := _sha256(file)) == sha256:
                return part.replace(target)
        part.unlink()
        if there == 0:
            raise Damaged(f"expected {address} with the sha256 {sha256}, got {came}")


def _head(address: str, params: Mapping[str, str]) -> Call[Answer]:
    """Read a resource's headers.

    Raises:
        Refused: it is unavailable; a GET is then sent for the service's reason, since a HEAD has no body.
    """
    try:
        return (yield from ask("HEAD", address, params=params))
    except Refused as refused:
        if not refused.document:
            yield from ask("GET", address, params=params, headers={"Range": "bytes=0-0"})
        raise


def fetch(address: str, target: Path, params: Mapping[str, str]) -> Call[Path]:
    """Download a small file in one request.

    Raises:
        Damaged: the received content does not match its ETag.
    """
    answer = yield from ask("GET", address, params=params)
    if (came := hashlib.sha256(answer.content).hexdigest()) != (sha256 := _etag(answer)):
        raise Damaged(f"expected {address} with the sha256 {sha256}, got {came}")
    write_atomically(target, answer.content)
    return target


def _announce(path: Path, kind: str, name: str | None, length: int, sha256: str, words: Mapping[str, Any]) -> Call[str]:
    fields = {"kind": kind, "filename": path.name, "sha256": sha256} | ({"name": name} if name else {})
    fields |= {key: "true" if value is True else str(value) for key, value in words.items()}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": metadata}
    answer = yield from ask("POST", "/v1/uploads", headers=headers)
    return answer.headers["location"]


def _offset(address: str) -> Call[int]:
    """Ask at which offset to resume an upload."""
    try:
        return int((yield from _head(address, {})).headers["upload-offset"])
    except Unreachable as error:
        raise UploadBroken(str(error), address) from error


def _piece(address: str, piece: Piece) -> Call[Answer]:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(piece.offset), "Content-Type": TYPE}
    return refuse((yield Ask("PATCH", address, headers=headers, piece=piece)))


def _fetch(
    address: str, part: Path, etag: str, length: int, progress: Progress | None, params: Mapping[str, str]
) -> Call[None]:
    """Append the missing bytes to the partial file; replace it if the service now has another version."""
    with part.open("ab") as file:
        start = file.tell()

        def sink(status: int, headers: Headers) -> IO[bytes]:
            nonlocal start
            if status != 206:  # the whole file: the range was of another version
                file.truncate(0)
                start = 0
            return file

        def report(done: int) -> None:
            if progress is not None:
                progress(start + done, length)

        headers = {"Range": f"bytes={start}-", "If-Range": etag} if start else {}
        refuse((yield Ask("GET", address, params=params, headers=headers, sink=sink, progress=report)))


def _etag(answer: Answer) -> str:
    found = re.fullmatch(r'"([0-9a-f]{64})"', answer.headers.get("etag", ""))
    if found is None:
        raise Damaged("expected a file whose ETag is its sha256, got another ETag: is something in between?")
    return found[1]


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
