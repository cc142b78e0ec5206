"""TLS of webhooks: the certificate is verified, against the name and not against the address that was connected to."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.webhooks.conftest import Receiver, post


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for `localhost` with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(file)]
    subprocess.run(made, check=True, capture_output=True)
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[Receiver]:
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server = receiver.start(context)
    yield receiver
    server.shutdown()
    server.server_close()


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Receiver) -> None:
    answer = post(secure.url, http=False)

    assert (answer.status_code, answer.again, secure.came) == (None, True, [])
    assert "CERTIFICATE_VERIFY_FAILED" in str(answer.error)


def test_a_certificate_is_verified_against_the_name(
    secure: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    by_address = secure.url.replace("localhost", "127.0.0.1")

    assert post(secure.url, http=False).status_code == 200
    assert post(by_address, http=False).status_code is None
    assert len(secure.came) == 1
