"""A folder of this machine on its way into the store: the request's body names it, the answer is a dataset."""

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from api.datasets import folders
from api.errors import TooLarge
from api.receiving import LENIENT, NO_ROOM, Upload, refuse_early
from api.settings import Settings
from api.storage import Storage, full_disk_told
from rdrkd.spec import Name

SUFFIX = ".tar"


class FolderRequest(BaseModel):
    """A folder to make a dataset of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str = Field(
        min_length=1,
        max_length=1000,
        description="NAME/PATH: the name of a folder that the operator allows, and where in it",
        examples=["surveys/2026-05/hit-uav"],
    )
    name: Name | None = Field(None, description="a name for people")
    lenient: bool = Field(False, description=LENIENT)


def take_folder(request: Request, asked: FolderRequest) -> Upload:
    """Copy a folder's files into the store, as a tar.

    Raises:
        PathNotAllowed, UnknownReference: it is none that may be taken, or not there.
        TooLarge, StorageFull, QuotaExceeded: there is no room for it.
        Unavailable: it changed while it was read.
    """
    settings: Settings = request.app.state.settings
    storage: Storage = request.app.state.storage
    folder = folders.find(settings.dataset_folders, asked.folder)
    files = folders.files_of(folder)
    size, most = sum(path.stat().st_size for path in files), settings.max_dataset_bytes
    if size > most:
        raise TooLarge(f"expected files of at most {most} bytes, got {size}")
    refuse_early(request, size)
    with full_disk_told(NO_ROOM), storage.incoming() as incoming:
        folders.pack(folder, files, incoming, most)
        name = asked.name.strip() or None if asked.name is not None else None
        return Upload(incoming.keep(SUFFIX), f"{folder.path.name}{SUFFIX}", name, asked.lenient)
