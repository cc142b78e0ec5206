"""Datasets whose check has drawn a preview."""

import io

from api.jobs import upload_checks
from tests.api.conftest import Service

PICTURE = b"\xff\xd8\xff a picture"


def with_preview(service: Service) -> str:
    """Return a dataset that is ready, with a preview."""
    dataset = service.upload(file=("a.zip", b"images"))
    with service.storage.incoming() as incoming:
        incoming.write(io.BytesIO(PICTURE).read())
        stored = incoming.keep_as(f"previews/{dataset}.jpg")
    with service.database.transaction() as session:
        check = upload_checks.claim(session, "checker", 60)
        assert check is not None
        assert check.id == dataset
        upload_checks.settle(session, check, {"names": ["car"], "format": "coco"}, [], preview=stored)
    return dataset
