"""Where webhooks may lead, when they are made and again when they are called; and how long a call may take."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from api.webhooks import client
from api.webhooks.addresses import AddressRefused, check_url, resolve
from tests.api.conftest import Service
from tests.api.webhooks.conftest import MakeSender, Receiver, everything
from tests.api.webhooks.test_webhooks import log, make

SECRETS = ["whsec_c2VjcmV0"]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fec0::1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://nowhere.invalid/",
    ],
)
def test_addresses_inside_are_refused_when_a_webhook_is_made(steady: Service, url: str) -> None:
    answer = steady.client.post("/v1/webhooks", json={"url": url})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/url")


@pytest.mark.parametrize(
    "url",
    [
        "http://9.9.9.9/",
        "ftp://9.9.9.9/",
        "//9.9.9.9/",
        "https://",
        "https://user:password@9.9.9.9/",
        "https://9.9.9.9/#x",
        "https://9.9.9.9:99999/",
        "https://[/",
        "https://9.9.9.9/a b",
        "https://9.9.9.9/\u00e4",
        "https://9.9.9.9/\r\nHost:x",
    ],
)
def test_urls_of_another_form_are_refused(steady: Service, url: str) -> None:
    answer = steady.client.post("/v1/webhooks", json={"url": url})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/url")


@pytest.mark.parametrize("url", ["https://9.9.9.9/", "https://[2620:fe::fe]:8443/x?y=z"])
def test_addresses_of_the_internet_are_taken(steady: Service, url: str) -> None:
    assert steady.client.post("/v1/webhooks", json={"url": url}).status_code == 201


def test_even_where_private_networks_are_allowed_link_local_is_not() -> None:
    check_url("http://127.0.0.1:1/", http=True, private=True)
    check_url("https://10.0.0.1/", http=False, private=True)
    for url in ("https://169.254.169.254/", "https://0.0.0.0/", "https://[fe80::1]/", "https://224.0.0.1/"):
        with pytest.raises(AddressRefused, match="addresses of the internet"):
            check_url(url, http=True, private=True)


def test_a_change_is_checked_too(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    sender(service)
    hook = make(service, receiver.url)
    answer = service.client.patch(f"/v1/webhooks/{hook['id']}", json={"url": "https://169.254.169.254/"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/url")


def test_addresses_inside_are_refused_at_sending_whatever_was_true_before(
    service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    sender(service)
    hook = make(service, receiver.url.replace("127.0.0.1", "localhost"))
    service.client.post(f"/v1/webhooks/{hook['id']}/test").raise_for_status()

    everything(sender(service, webhooks_allow_private=False))

    [delivery] = log(service, hook)
    assert (delivery["status"], receiver.came) == ("failed", [])
    assert "addresses of the internet" in delivery["attempts"][0]["error"]


def test_the_connection_goes_to_an_address_that_was_checked(receiver: Receiver) -> None:
    assert resolve("localhost", 80, private=True) in ("127.0.0.1", "::1")
    named = receiver.url.replace("127.0.0.1", "localhost")

    assert client.send(named, "msg_1", "{}", SECRETS, http=True, private=True).status_code == 200
    assert receiver.came[0][0]["Host"].startswith("localhost:")  # the name stays the request's
    assert client.send(named, "msg_1", "{}", SECRETS, http=True, private=False).status_code is None
    assert len(receiver.came) == 1


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_receiver_that_drips_is_left(raw: tuple[socket.socket, str]) -> None:
    server, url = raw

    def drip() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    answer = client.send(url, "msg_1", "{}", SECRETS, http=True, private=True, seconds=1)

    assert (answer.status_code, answer.again, "within 1 seconds" in str(answer.error)) == (None, True, True)
    assert time.monotonic() - began < 5
    thread.join()


@pytest.mark.parametrize("words", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**6])
def test_what_is_no_answer_is_tried_again(raw: tuple[socket.socket, str], words: bytes) -> None:
    server, url = raw

    def speak() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            with suppress(OSError):
                connection.sendall(words)

    thread = threading.Thread(target=speak)
    thread.start()
    answer = client.send(url, "msg_1", "{}", SECRETS, http=True, private=True)
    thread.join()

    assert (answer.status_code, answer.again, bool(answer.error)) == (None, True, True)


def test_nobody_there_and_no_tls_are_told_in_words(raw: tuple[socket.socket, str], receiver: Receiver) -> None:
    server, url = raw
    server.close()

    refused = client.send(url, "msg_1", "{}", SECRETS, http=True, private=True)
    plain = client.send(receiver.url.replace("http:", "https:"), "msg_1", "{}", SECRETS, http=True, private=True)

    assert (refused.again, refused.error) == (True, "no connection: Connection refused")
    assert (plain.again, str(plain.error).startswith("no TLS")) == (True, True)
