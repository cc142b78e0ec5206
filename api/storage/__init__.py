"""The file store: content under keys, in a local folder or in a bucket, behind one interface (`docs/storage.md`).

Uploads are named by their content (`uploads/<sha256>.zip`): equal content is stored once, and no part of the name is
chosen by a client. An attempt's files are stored under `jobs/<job>/attempt-<n>/epoch-<k>/<name>`.
"""

from api.storage.folder import FolderStorage
from api.storage.interface import Storage
from api.storage.open import open_storage
from api.storage.spool import ABANDONED_SECONDS, Incoming
from api.storage.stored import CHUNK, Listed, StorageUnreachable, Stored, full_disk_reported

__all__ = [
    "ABANDONED_SECONDS",
    "CHUNK",
    "FolderStorage",
    "Incoming",
    "Listed",
    "Storage",
    "StorageUnreachable",
    "Stored",
    "full_disk_reported",
    "open_storage",
]
