"""Our response types: problem documents, conditional responses, files with ranges."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from api.errors import ApiError, BadRequest, RangeNotSatisfiable

Disposition = Literal["attachment", "inline"]


def problem_response(error: ApiError, instance: str) -> Response:
    """Answer the request `instance` with an error."""
    document = error.document(instance).model_dump(mode="json", exclude_none=True)
    # ASCII: quotes from the request may hold a lone surrogate, which UTF-8 cannot encode.
    content = json.dumps(document).encode("ascii")
    return Response(content, error.status, dict(error.headers), "application/problem+json")


def not_modified(if_none_match: str | None, etag: str, headers: Mapping[str, str] | None = None) -> Response | None:
    """Return the 304 for a client that has this version already, by weak comparison (RFC 9110, 13.1.2).

    Args:
        if_none_match: what the client has.
        etag: what is here.
        headers: of the whole answer that guard it: a cache replaces those that it keeps by those of the 304.

    >>> not_modified('W/"1", W/"2"', 'W/"2"').status_code
    304
    >>> not_modified('"3"', 'W/"2"')
    """
    return (
        Response(status_code=304, headers={"ETag": etag, **(headers or {})}) if matches(if_none_match, etag) else None
    )


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether a client has this version already, by weak comparison."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag.removeprefix("W/") in re.findall(r'"[^"]*"', if_none_match)


class ContentResponse(FileResponse):
    """A stored file: ranges, HEAD, an ETag that is its sha256 and the same on every host, refusals as problems."""

    def __init__(
        self,
        path: PurePath,
        sha256: str,
        filename: str,
        media_type: str,
        disposition: Disposition,
        headers: Mapping[str, str],
    ) -> None:
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        super().__init__(
            path,
            headers={"ETag": content_etag(sha256), "Repr-Digest": f"sha-256=:{digest}:", **headers},
            media_type=media_type,
            filename=filename,
            content_disposition_type=disposition,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or raise what the base class would answer in plain text."""

        async def send_checked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 416:
                raise RangeNotSatisfiable(
                    "expected a range within the file, got one outside",
                    headers={"Content-Range": Headers(raw=message["headers"])["content-range"]},
                )
            if message["type"] == "http.response.start" and message["status"] == 400:
                raise BadRequest("expected a Range header such as bytes=0-1023, got another form")
            await send(message)

        await super().__call__(scope, receive, send_checked)


def content_etag(sha256: str) -> str:
    """Return the strong ETag of a file's content."""
    return f'"{sha256}"'


def plain_name(text: str) -> str:
    """Reduce a user's name to characters that are safe in a file name.

    >>> plain_name("../n from l/Größe")
    'n-from-l-Gr-e'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80]
