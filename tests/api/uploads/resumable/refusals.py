"""Requests that each refusal of uploads in pieces answers, by operation and code."""

from typing import Any

from httpx2 import Response

from api.storage.partial_uploads import Partial
from tests.api.conftest import MAX_BYTES, Service, full_disk, without_room
from tests.api.uploads.resumable.test_announcement import metadata

NOBODY = f"/v1/uploads/upl_{'0' * 32}"
PIECE = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
OLD = {"Tus-Resumable": "0.2.2"}


def said(length: int = 10) -> dict[str, str]:
    """Announce a file in headers."""
    return {"Upload-Length": str(length), "Upload-Metadata": metadata(kind="dataset", filename="a.zip")}


def _announce(service: Service, **changes: str) -> Response:
    return service.client.post("/v1/uploads", headers=said() | {k.replace("_", "-"): v for k, v in changes.items()})


def _begin(service: Service, **changes: str) -> str:
    return _announce(service, **changes).headers["Location"]


def _send(service: Service, address: str, content: bytes = b"x", **changes: str) -> Response:
    headers = PIECE | {k.replace("_", "-"): v for k, v in changes.items()}
    return service.client.patch(address, content=content, headers=headers)


def _gone(service: Service) -> str:
    address = _begin(service)
    Partial(service.storage, address.rpartition("/")[2]).remove()
    return address


def _damaged(service: Service) -> str:
    """Return an upload whose bytes have all come, and are not those that were announced."""
    announced = metadata(kind="dataset", filename="a.zip", sha256="0" * 64)
    address = _begin(service, Upload_Metadata=announced)
    with Partial(service.storage, address.rpartition("/")[2]).appending() as file:
        file.write(bytes(10))
    return address


def _busy(service: Service) -> Response:
    address = _begin(service)
    with Partial(service.storage, address.rpartition("/")[2]).appending():
        return _send(service, address)


def _full(service: Service) -> Response:
    address = _begin(service, Upload_Length=str(MAX_BYTES))
    with full_disk(2**23):  # more than the database has
        return _send(service, address, bytes(2**23 + 2**22))


def _read(operation: str, method: str) -> dict[tuple[str, str], Any]:
    return {
        (operation, "unknown_protocol"): lambda service: service.client.request(method, NOBODY, headers=OLD),
        (operation, "not_found"): lambda service: service.client.request(method, NOBODY),
        (operation, "gone"): lambda service: service.client.request(method, _gone(service)),
    }


REFUSALS = {
    ("create_upload", "bad_request"): lambda service: _announce(service, Upload_Length="x"),
    ("create_upload", "unknown_protocol"): lambda service: _announce(service, **OLD),
    ("create_upload", "too_large"): lambda service: _announce(service, Upload_Length=str(MAX_BYTES + 1)),
    ("create_upload", "storage_full"): without_room(_announce),
    ("create_upload", "invalid"): lambda service: _announce(service, Upload_Length="0"),
    **_read("get_upload", "GET"),
    **_read("head_upload", "HEAD"),
    ("append_to_upload", "bad_request"): lambda service: _send(service, _begin(service), Upload_Offset="x"),
    ("append_to_upload", "not_found"): lambda service: _send(service, NOBODY),
    ("append_to_upload", "gone"): lambda service: _send(service, _gone(service)),
    ("append_to_upload", "wrong_offset"): lambda service: _send(service, _begin(service), Upload_Offset="5"),
    ("append_to_upload", "upload_busy"): _busy,
    ("append_to_upload", "unknown_protocol"): lambda service: _send(service, NOBODY, **OLD),
    ("append_to_upload", "too_large"): lambda service: _send(service, _begin(service), bytes(11)),
    ("append_to_upload", "unsupported_media_type"): lambda service: _send(
        service, _begin(service), Content_Type="text/plain"
    ),
    ("append_to_upload", "invalid"): lambda service: service.client.patch(
        _damaged(service), headers=PIECE | {"Upload-Offset": "10"}
    ),
    ("append_to_upload", "storage_full"): _full,
    ("delete_upload", "unknown_protocol"): lambda service: service.client.delete(NOBODY, headers=OLD),
    ("delete_upload", "not_found"): lambda service: service.client.delete(NOBODY),
}
