"""Open the file store that the settings describe."""

import os

from pydantic import SecretStr

from api.settings import Settings
from api.storage.cache import Cache
from api.storage.folder import FolderStorage
from api.storage.interface import Storage
from api.storage.signing import Access
from api.storage.spool import Spool


def open_storage(settings: Settings) -> Storage:
    """Open the store: a bucket if the settings name one, else the local folder.

    Raises:
        ImportError: the bucket's driver is not installed (`pip install rdrkd[s3]`).
    """
    if settings.storage_url is None:
        return FolderStorage(settings.storage_dir)
    from api.storage.bucket import Bucket, BucketStorage  # an optional extra, which the embedded service does not need

    name, _, prefix = settings.storage_url.removeprefix("s3://").partition("/")
    bucket = Bucket(
        name=name,
        prefix=prefix.strip("/"),
        endpoint=settings.s3_endpoint,
        download_endpoint=settings.s3_download_endpoint or settings.s3_endpoint,
        region=settings.s3_region,
        access=access_of(settings),
        presigned_seconds=settings.s3_redirect_seconds,
    )
    spool = Spool(settings.storage_dir / "incoming")
    return BucketStorage(bucket, spool, Cache(settings.data_dir / "objects", settings.s3_cache_bytes))


def access_of(settings: Settings) -> Access | None:
    """Return the access keys of the store's bucket; None: use the machine's role."""
    return access_by(settings.s3_access_key_id, settings.s3_secret_access_key, settings.s3_session_token)


def access_by(key_id: SecretStr | None, secret_key: SecretStr | None, session_token: SecretStr | None) -> Access | None:
    """Return the access keys of the settings or of AWS's own variables; None if there are none."""
    given = (key_id, secret_key, session_token)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    id_, secret, token = map(_plain, given) if key_id is not None else map(os.environ.get, names)
    return Access(id_, secret, token) if id_ and secret else None


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value().strip() if secret is not None else None
