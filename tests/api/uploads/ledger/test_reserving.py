"""Every byte is reserved before it is written: quotas and the watermark hold while bytes come, not at their end."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from api.access import keys
from api.access.keys_schemas import KeyRequest
from api.access.quotas import used_bytes
from api.caller import Scope
from api.db import Database, after_seconds
from api.storage import FolderStorage
from api.tables.ledger import Reservation
from api.tables.resumable import ResumableUpload
from api.uploads.ledger.reservations import Ledger
from tests.api.access.test_quotas import small
from tests.api.conftest import ZIP, Listen, Service, Start
from tests.api.test_server import await_listening, environment, free_port
from tests.api.uploads.ledger.sending import MIB, Sending, small_disk, spooled, until
from tests.api.uploads.resumable.test_announcement import metadata


def port_of(service: Service) -> int:
    return int(str(service.client.base_url).rstrip("/").rpartition(":")[2])


def reservations(database: Database) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(Reservation)) or 0


def announce(service: Service, key: dict[str, str], length: int, **fields: str) -> Any:
    said = metadata(**({"kind": "dataset", "filename": "a.zip"} | fields))
    return service.client.post("/v1/uploads", headers=key | {"Upload-Length": str(length), "Upload-Metadata": said})


def send(service: Service, key: dict[str, str], address: str, content: bytes, offset: int = 0) -> Any:
    headers = key | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return service.client.patch(address, content=content, headers=headers)


@pytest.mark.slow
def test_a_body_without_a_length_is_written_only_as_far_as_the_quota_reaches(listen: Listen, tmp_path: Path) -> None:
    service = listen(quota_storage_bytes=2 * MIB)
    key = service.key()
    sending, most = Sending(port_of(service), key), 0

    for _ in range(40):
        more = sending.send(MIB // 2)
        most = max(most, spooled(tmp_path / "var"))
        if not more or sending.answered():
            break

    assert sending.answer() == (429, "quota_exceeded")
    assert most <= 2 * MIB
    until(lambda: not reservations(service.database))
    assert spooled(tmp_path / "var") == 0
    fits = Sending(port_of(service), key)
    fits.send(MIB)
    assert fits.finish()[0] == 202


@pytest.mark.slow
def test_bodies_side_by_side_are_refused_before_they_are_written(listen: Listen, tmp_path: Path) -> None:
    processes = [listen(quota_storage_bytes=3 * MIB + 1000), listen(quota_storage_bytes=3 * MIB + 1000)]
    key, bob = processes[0].key(), processes[0].key("bob")
    sendings = [Sending(port_of(processes[number % 2]), key, MIB) for number in range(6)]

    for sending in sendings:
        sending.send(MIB // 2)
    until(lambda: sum(sending.answered() for sending in sendings) == 3)

    assert spooled(tmp_path / "var") <= 3 * MIB
    assert reservations(processes[0].database) == 3
    other = Sending(port_of(processes[1]), bob, MIB)
    other.send(MIB)
    assert other.finish()[0] == 202  # another owner's quota is their own
    refused = [sending.answer() for sending in sendings if sending.answered()]
    taken = [sending for sending in sendings if sending._socket.fileno() >= 0]
    for sending in taken:
        sending.send(MIB // 2)
    assert refused == [(429, "quota_exceeded")] * 3
    assert [sending.finish()[0] for sending in taken] == [202] * 3
    assert reservations(processes[0].database) == 0


def test_an_announced_upload_counts_whole_until_it_ends(each_service: Service) -> None:
    service, key = each_service, each_service.key()
    small(service, quota_storage_bytes=MIB)
    half = MIB // 2

    first, second = (announce(service, key, half) for _ in range(2))
    refused = announce(service, key, half)
    beside = service.client.post("/v1/datasets", files={"file": ZIP}, headers=key)
    assert [answer.status_code for answer in (first, second, refused, beside)] == [201, 201, 429, 429]

    service.client.delete(first.headers["Location"], headers=key).raise_for_status()  # given up
    third = announce(service, key, half, sha256="0" * 64)
    damaged = send(service, key, third.headers["Location"], bytes(half))
    assert (third.status_code, damaged.status_code) == (201, 422)
    fourth = announce(service, key, half)
    assert fourth.status_code == 201  # what arrived damaged is gone, and counts no more
    whole = send(service, key, second.headers["Location"], bytes(half))
    assert whole.json()["links"]["result"]
    with service.database.transaction() as session:
        used = used_bytes(session, "alice")
        assert (used["datasets"], used["announced"], used["reserved"]) == (half, half, 0)


def test_an_abandoned_upload_counts_no_more_and_again_if_it_goes_on(each_service: Service) -> None:
    service, key = each_service, each_service.key()
    small(service, quota_storage_bytes=MIB)
    address = announce(service, key, MIB).headers["Location"]
    assert send(service, key, address, bytes(1000)).status_code == 200
    with service.database.transaction() as session:  # a day later
        session.execute(update(ResumableUpload).values(expires_at=after_seconds(-1)))

    other = announce(service, key, MIB)
    late = send(service, key, address, bytes(1000), 1000)
    service.client.delete(other.headers["Location"], headers=key).raise_for_status()
    again = send(service, key, address, bytes(1000), 1000)
    refused = announce(service, key, MIB)

    assert [answer.status_code for answer in (other, late, again, refused)] == [201, 429, 200, 429]
    assert late.json()["code"] == "quota_exceeded"


def test_the_disk_is_not_promised_twice(start: Start, tmp_path: Path) -> None:
    """Uploads of every kind, and work, see what others are still to write."""
    with small_disk(tmp_path / "var", 40), start(min_free_bytes=10 * MIB) as service:
        key = service.key()
        ledger = Ledger(service.database, service.storage)
        held = ledger.begin(service.app.state.settings, "bob", "writing-x")
        path = service.storage.incoming_path("writing-x")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        held.cover(20 * MIB)  # of another's upload nothing has come yet

        fits = announce(service, key, 8 * MIB)
        too_much = announce(service, key, 12 * MIB)
        piece = send(service, key, fits.headers["Location"], bytes(MIB))
        job = {"kind": "train", "model": {"architecture": "yolov8n"}, "dataset": "ds_" + "0" * 32}
        known = service.client.post("/v1/jobs", json=job, headers=key)
        assert [answer.status_code for answer in (fits, too_much, piece, known)] == [201, 503, 200, 422]

        path.write_bytes(bytes(18 * MIB))
        held.cover(22 * MIB)  # it has 18 of them: what is written counts by itself
        full = [
            send(service, key, fits.headers["Location"], bytes(7 * MIB), MIB),
            service.client.post("/v1/datasets", files={"file": ("a.zip", bytes(7 * MIB))}, headers=key),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in full] == [(503, "storage_full")] * 2
        held.release()
        path.unlink()
        assert send(service, key, fits.headers["Location"], bytes(7 * MIB), MIB).status_code == 200


def test_a_full_disk_is_told_and_leaves_nothing(start: Start, tmp_path: Path) -> None:
    """The disk may fill by what is not ours: then the kernel says so."""
    with small_disk(tmp_path / "var", 16), start(min_free_bytes=0) as service:
        key = service.key()
        (tmp_path / "var" / "foreign").write_bytes(bytes(8 * MIB))
        begun = announce(service, key, 12 * MIB)
        if begun.status_code == 201:
            begun = send(service, key, begun.headers["Location"], bytes(12 * MIB))
        whole = service.client.post("/v1/datasets", files={"file": ("a.zip", bytes(12 * MIB))}, headers=key)

        assert [answer.json()["code"] for answer in (begun, whole)] == ["storage_full"] * 2
        assert reservations(service.database) == 0
        assert not [name for name in service.files() if "writing-" in name]
        assert service.client.post("/v1/datasets", files={"file": ZIP}, headers=key).status_code == 202
        with (tmp_path / "var" / "foreign").open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        begun = [announce(service, key, 10) for _ in range(50)]  # the database has no room either
        assert {answer.json().get("code", "taken") for answer in begun} <= {"taken", "storage_full"}
        assert begun[-1].status_code == 503


@contextmanager
def running(data_dir: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """An API process; whatever it has come to, it is gone afterwards."""
    port = free_port()
    environ = environment(data_dir, port=str(port), token="t", log_level="WARNING", **settings)
    with subprocess.Popen([sys.executable, "-m", "api"], env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            await_listening(port)
            yield process, port
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_dead_process_has_reserved_runs_out(tmp_path: Path, fault: signal.Signals) -> None:
    data_dir = tmp_path / "var"
    times = {"lease_seconds": "4", "heartbeat_seconds": "1", "quota_storage_bytes": str(4 * MIB), "body_seconds": "300"}
    with running(data_dir, **times) as (process, port), ExitStack() as stack:
        database = Database(f"sqlite:///{data_dir}/rdrkd.db")
        stack.callback(database.engine.dispose)
        with database.transaction() as session:
            _, secret = keys.create(session, KeyRequest(name="k", owner="alice", scope=Scope.SUBMIT))
        key = {"Authorization": f"Bearer {secret}"}
        _, second_port = stack.enter_context(running(data_dir, **times))
        first = Sending(port, key, 3 * MIB)
        stack.callback(first.close)
        first.send(2 * MIB)
        until(lambda: spooled(data_dir) >= MIB)
        time.sleep(5)  # longer than a lease: it is renewed
        refused = Sending(second_port, key, 3 * MIB)
        assert refused.answer() == (429, "quota_exceeded")
        process.send_signal(fault)

        def fits() -> bool:
            sending = Sending(second_port, key, 3 * MIB)
            sending.send(3 * MIB)
            return sending.finish()[0] == 202

        until(fits)
        if fault == signal.SIGKILL:
            FolderStorage(data_dir / "storage").sweep()  # as a reaper does, and an API process when it starts
            assert spooled(data_dir) == 0
            return
        process.send_signal(signal.SIGCONT)
        first.send(MIB)
        assert first.finish() == (429, "quota_exceeded")  # others have taken the room meanwhile
