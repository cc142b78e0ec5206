"""Where webhooks may lead, when they are made and again when they are called; and how long a call may take."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from api.webhooks.addresses import AddressRefused, resolve
from api.webhooks.resolver import Resolver
from tests.api.conftest import Service
from tests.api.webhooks.conftest import MakeSender, Receiver, everything, post
from tests.api.webhooks.test_webhooks import log, make


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

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url")


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

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url")


@pytest.mark.parametrize("url", ["https://9.9.9.9/", "https://[2620:fe::fe]:8443/x?y=z"])
def test_addresses_of_the_internet_are_taken(steady: Service, url: str) -> None:
    assert steady.client.post("/v1/webhooks", json={"url": url}).status_code == 201


def addresses(host: str, private: bool) -> list[str]:
    return asyncio.run(resolve(Resolver(), host, private))


METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.80.8.124",
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
]


def test_even_where_private_networks_are_allowed_no_clouds_metadata_are() -> None:
    assert addresses("10.0.0.1", private=True) == ["10.0.0.1"]
    assert addresses("fd00::1", private=True) == ["fd00::1"]
    v4 = [address for address in METADATA if ":" not in address]
    disguised = [f"{prefix}{address}" for address in v4 for prefix in ("::ffff:", "64:ff9b::", "64:ff9b:1::", "::")]
    for address in (*METADATA, *disguised, "0.0.0.0", "fe80::1", "224.0.0.1"):
        for private in (True, False):
            with pytest.raises(AddressRefused, match="public addresses"):
                addresses(address, private)


@pytest.mark.parametrize("address", METADATA)
def test_no_webhook_is_made_for_a_clouds_metadata(service: Service, sender: MakeSender, address: str) -> None:
    sender(service)
    url = f"http://[{address}]/latest" if ":" in address else f"http://{address}/latest"

    answer = service.client.post("/v1/webhooks", json={"url": url})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url")


def test_a_change_is_checked_too(service: Service, receiver: Receiver, sender: MakeSender) -> None:
    sender(service)
    hook = make(service, receiver.url)
    answer = service.client.patch(f"/v1/webhooks/{hook['id']}", json={"url": "https://169.254.169.254/"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url")


def test_addresses_inside_are_refused_at_sending_whatever_was_true_before(
    service: Service, receiver: Receiver, sender: MakeSender
) -> None:
    sender(service)
    hook = make(service, receiver.url.replace("127.0.0.1", "localhost"))
    service.client.post(f"/v1/webhooks/{hook['id']}/test").raise_for_status()

    everything(sender(service, webhooks_allow_private=False))

    [delivery] = log(service, hook)
    assert (delivery["status"], receiver.came) == ("failed", [])
    assert "public addresses" in delivery["attempts"][0]["error"]


def test_the_connection_goes_to_an_address_that_was_checked(receiver: Receiver) -> None:
    assert set(addresses("localhost", private=True)) <= {"127.0.0.1", "::1"}
    named = receiver.url.replace("127.0.0.1", "localhost")

    assert post(named).status_code == 200
    assert receiver.came[0][0]["Host"].startswith("localhost:")  # the name stays the request's
    assert post(named, private=False).status_code is None
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
    answer = post(url, seconds=1)

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
    answer = post(url)
    thread.join()

    assert (answer.status_code, answer.again, bool(answer.error)) == (None, True, True)


def test_nobody_there_and_no_tls_are_told_in_words(raw: tuple[socket.socket, str], receiver: Receiver) -> None:
    server, url = raw
    server.close()

    refused = post(url)
    plain = post(receiver.url.replace("http:", "https:"))

    assert (refused.again, refused.error) == (True, "no connection: Connection refused")
    assert (plain.again, str(plain.error).startswith("no TLS")) == (True, True)
