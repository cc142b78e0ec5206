"""Encryption of webhook secrets in the database, with keys that are stored elsewhere.

The secrets sign messages, so hashes would not suffice. The keys come from a secret file, or from the data folder, where
the service creates one. The first key encrypts, all decrypt: to rotate, a new key is put before the old one, and the
sender re-encrypts the secrets with it.
"""

import contextlib
import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.settings import Settings
from api.tables.webhooks import Webhook

log = logging.getLogger(__name__)

FILE = "encryption.key"  # in the data folder
_CLEAR = "whsec_"  # prefix of unencrypted secrets, written by an earlier version


class Vault:
    """Encrypt and decrypt secrets; keys are read or created when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def seal(self, secret: str) -> str:
        """Encrypt a secret."""
        return self._keys[0].encrypt(secret.encode()).decode()

    def open(self, sealed: Sequence[str]) -> list[str]:
        """Decrypt the secrets for which there is a key."""
        opened: list[str] = []
        for secret in sealed:
            with contextlib.suppress(InvalidToken):
                opened.append(secret if secret.startswith(_CLEAR) else self._any.decrypt(secret).decode())
        return opened

    def can_sign(self, secrets: Sequence[dict[str, Any]]) -> bool:
        """Return whether a webhook with these entries can sign; do not create a missing key."""
        given = self._settings.encryption_keys is not None or (self._settings.data_dir / FILE).exists()
        sealed = [entry["secret"] for entry in secrets]
        return bool(self.open([secret for secret in sealed if given or secret.startswith(_CLEAR)]))

    def reseal(self, session: Session) -> int:
        """Re-encrypt unencrypted secrets and those of older keys with the newest key; return the number of webhooks."""
        count = 0
        for hook in session.scalars(select(Webhook)).all():
            if any(self._is_old(entry["secret"]) for entry in hook.secrets):
                session.refresh(hook, with_for_update=True)
                hook.secrets = [self._resealed(entry) for entry in hook.secrets]
                count += 1
        return count

    def _is_old(self, secret: str) -> bool:
        with contextlib.suppress(InvalidToken):
            self._keys[0].decrypt(secret)
            return False
        return bool(self.open([secret]))  # keep what no key decrypts: the right key may be restored

    def _resealed(self, entry: dict[str, Any]) -> dict[str, Any]:
        opened = self.open([entry["secret"]])
        return entry | {"secret": self.seal(opened[0])} if opened else entry

    @cached_property
    def _keys(self) -> list[Fernet]:
        given = self._settings.encryption_keys
        return [Fernet(key) for key in (given.get_secret_value().split(",") if given is not None else [self._own()])]

    @cached_property
    def _any(self) -> MultiFernet:
        return MultiFernet(self._keys)

    def _own(self) -> str:
        """Return the key in the data folder; the first process that needs one creates it."""
        path = self._settings.data_dir / FILE
        if not path.exists():
            _make(path)
        return path.read_text().strip()


def _make(path: Path) -> None:
    """Write a key atomically, unless another process has already written one."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(partial, path)  # unlike a rename, a link replaces nothing
        log.info("created a key that encrypts webhook secrets: %s", path.name)
    partial.unlink()
