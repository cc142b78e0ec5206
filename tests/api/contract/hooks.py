"""What Schemathesis cannot know: which things there are, and what a piece of an upload looks like on the wire.

Loaded by its command line (`SCHEMATHESIS_HOOKS`), not by the service's tests.
"""

import json
import os
import zlib
from typing import Any

import schemathesis
from hypothesis import strategies as st

KNOWN: dict[str, list[str]] = json.loads(os.environ["RDRKD_CONTRACT_KNOWN"])
SOUND: dict[str, Any] = json.loads(os.environ.get("RDRKD_CONTRACT_SOUND", "{}"))  # bodies, by method and path


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Name what there is in three of four cases: an id that is made up only ever meets a 404."""
    for name, value in (path_parameters or {}).items():
        known, choice = KNOWN.get(name), zlib.crc32(str(value).encode())
        if known and choice % 4:
            path_parameters[name] = known[choice // 4 % len(known)]
    return path_parameters


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Make something, where links are followed: a body that is made up is refused, and leads nowhere."""
    return SOUND.get(context.operation.label, body)


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Wait for nothing: a long poll that is right takes as long as it is told to."""
    wait = (query or {}).get("wait")
    if isinstance(wait, int | float) and 0 <= wait <= 60:
        query["wait"] = wait / 600
    return query


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out, where links are followed, what makes two checks fail with good reason.

    A repeated `Idempotency-Key` replays the answer that named something which may have been deleted since
    (`ensure_resource_availability`). `keep=weights` deletes a job's files but not the job, and a key that was revoked
    stays listed, so that the audit log's ids lead somewhere (`use_after_free`).
    """
    if not SOUND:
        return True
    stays = "keep" in (case.query or {}) or case.operation.label == "GET /v1/api-keys/{key_id}"
    return not stays and "Idempotency-Key" not in (case.headers or {})


@schemathesis.serializer("application/offset+octet-stream")
def piece(context: Any, value: Any) -> dict[str, Any]:
    """Send the bytes as they are."""
    return {"data": value.data if hasattr(value, "data") else str(value).encode()}


schemathesis.openapi.media_type("application/offset+octet-stream", st.binary(max_size=64))
