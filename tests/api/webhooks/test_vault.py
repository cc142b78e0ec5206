"""Secrets of webhooks in the database: encrypted, under keys that rotate and may get lost."""

import base64
import stat
import threading
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import text, update
from standardwebhooks import Webhook as Verifier

from api.settings import Settings
from api.tables.webhooks import Webhook
from api.webhooks.vault import FILE, Vault
from tests.api.conftest import Service
from tests.api.webhooks.conftest import MakeSender, Receiver, everything
from tests.api.webhooks.test_webhooks import log, make


def stored(service: Service) -> str:
    with service.database.engine.connect() as connection:
        return str(connection.execute(text("SELECT secrets FROM webhook")).scalars().all())


def told(receiver: Receiver, secret: str) -> None:
    headers, body = receiver.came[-1]
    Verifier(secret).verify(body, {name.lower(): value for name, value in headers.items()})


def test_the_database_holds_no_secret_in_clear(each_service: Service, receiver: Receiver, sender: MakeSender) -> None:
    one = sender(each_service)
    hook = make(each_service, receiver.url)
    path = f"/v1/webhooks/{hook['id']}"
    new = each_service.client.post(f"{path}/rotate").json()["secret"]
    each_service.client.post(f"{path}/test").raise_for_status()
    everything(one)

    assert hook["secret"] not in stored(each_service)
    assert "whsec_" not in stored(each_service)
    told(receiver, new)
    told(receiver, hook["secret"])
    [file] = one.settings.data_dir.glob(f"{FILE}*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_an_earlier_version_wrote_is_encrypted(
    each_service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    hook = make_in_clear(each_service, receiver, sender)
    one = sender(each_service)
    each_service.client.post(f"/v1/webhooks/{hook['id']}/test").raise_for_status()

    everything(one)

    assert "whsec_" not in stored(each_service)
    told(receiver, "whsec_c2VjcmV0")


def make_in_clear(service: Service, receiver: Receiver, sender: MakeSender) -> dict[str, Any]:
    sender(service)
    hook = make(service, receiver.url)
    with service.database.transaction() as session:
        session.execute(update(Webhook).values(secrets=[{"secret": "whsec_c2VjcmV0", "until": None}]))
    return hook


def test_keys_rotate_and_a_lost_one_is_told(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))

    def with_keys(*keys: str) -> dict[str, Any]:
        given = {"encryption_keys": SecretStr(",".join(keys)), "webhooks_retry_seconds": 1000}
        service.app.state.vault = Vault(service.app.state.settings.model_copy(update=given))
        return given

    sender(service)
    keys = with_keys(old)
    hook = make(service, receiver.url)
    test = f"/v1/webhooks/{hook['id']}/test"
    for keys in (with_keys(old), with_keys(new, old), with_keys(new)):
        service.client.post(test).raise_for_status()
        everything(sender(service, **keys))
        told(receiver, hook["secret"])
    came = len(receiver.came)

    service.client.post(test).raise_for_status()
    everything(sender(service, **with_keys(Fernet.generate_key().decode())))

    assert len(receiver.came) == came
    assert "rotate the secret" in log(service, hook)[0]["attempts"][0]["error"]
    everything(sender(service, **with_keys(new)))  # what no key opens is left as it was
    service.client.post(test).raise_for_status()
    everything(sender(service, **with_keys(new)))
    told(receiver, hook["secret"])


def test_processes_that_start_at_once_agree_on_the_key(service: Service) -> None:
    vaults = [Vault(service.app.state.settings) for _ in range(8)]
    together, sealed = threading.Barrier(len(vaults)), []

    def seal(vault: Vault) -> None:
        together.wait()
        sealed.append(vault.seal("whsec_x"))

    threads = [threading.Thread(target=seal, args=(vault,)) for vault in vaults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Vault(service.app.state.settings).open(sealed) == ["whsec_x"] * len(vaults)


@pytest.mark.parametrize("wrong", ["", "short", "x" * 44, f"{base64.urlsafe_b64encode(bytes(32)).decode()},short"])
def test_a_key_that_is_none_is_refused_without_being_shown(wrong: str) -> None:
    with pytest.raises(ValueError, match="keys of 32 bytes") as refused:
        Settings(encryption_keys=SecretStr(wrong))

    assert not wrong or wrong not in str(refused.value)
