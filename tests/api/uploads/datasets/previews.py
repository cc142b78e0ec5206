"""Datasets whose check has drawn a preview and an album."""

import io

from api.jobs import upload_checks
from api.storage import Stored
from api.uploads.datasets.album import Album, Index
from tests.api.conftest import Service

PICTURE = b"\xff\xd8\xff a picture"
PIECES = [b"\xff\xd8\xff" + str(number).encode() * (number + 1) for number in range(5)]
BOXES = [[(0, 0, 0, 10, 10)], [(1, 0, 0, 20, 20), (0, 5, 5, 100, 100)], [], [(1, 0, 0, 8, 8)], [(0, 0, 0, 40, 40)]]
INDEX = Index.model_validate(
    {
        "images": [
            {
                "split": "train" if number < 3 else "val", "name": f"<b>{number}.jpg", "bytes": len(piece),
                "width": 1280, "height": 720, "boxes": boxes, "ignored": [(1, 2, 3, 4)], "more": 0,
            }
            for number, (piece, boxes) in enumerate(zip(PIECES, BOXES, strict=True))
        ]
    }
)  # fmt: skip


def with_preview(service: Service) -> str:
    """Return a dataset that is ready, with a preview."""
    dataset = service.upload(file=("a.zip", b"images"))
    with service.storage.incoming() as incoming:
        incoming.write(io.BytesIO(PICTURE).read())
        stored = incoming.keep_as(f"previews/{dataset}.jpg")
    with service.database.transaction() as session:
        check = upload_checks.claim(session, "checker", 60)
        while check is not None and check.id != dataset:  # an upload of an earlier test
            check = upload_checks.claim(session, "checker", 60)
        assert check is not None
        report = {"names": ["car", "van"], "format": "coco"}
        album = Album(_album(service, dataset), INDEX)
        upload_checks.settle(session, check, report, [], preview=stored, album=album)
    return dataset


def _album(service: Service, dataset: str) -> Stored:
    with service.storage.incoming() as incoming:
        incoming.write(b"".join(PIECES))
        return incoming.keep_as(f"previews/{dataset}.album")
