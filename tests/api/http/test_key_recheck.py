"""Whatever lasts ends with its caller's key; and who waits leaves places for others."""

import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from api.caller import LOOPBACK, Caller, Scope
from api.errors import TooManyWaiting
from api.tables.keys import ApiKey
from api.tables.states import Status
from tests.api.conftest import Listen, Service
from tests.api.uploads.ledger.sending import until

STREAM = {"Accept": "text/event-stream"}
LATE = 12.0  # seconds, of a machine with much else to do; two on one without


def running(service: Service) -> tuple[str, dict[str, str]]:
    """Return a job of alice that runs, and her key."""
    service.client.headers["Authorization"] = "Bearer t"
    job_id = service.job(Status.RUNNING)
    return job_id, service.key("root", "admin")


def seconds_of(service: Service, path: str, headers: dict[str, str]) -> tuple[float, int]:
    """Read an answer to its end; return how long that took, and its status."""
    began = time.monotonic()
    try:
        with httpx2.stream("GET", f"{service.client.base_url}".rstrip("/") + path, headers=headers, timeout=30) as it:
            status = it.status_code
            for _ in it.iter_raw():
                pass
    except httpx2.RemoteProtocolError:
        pass  # cut off
    return time.monotonic() - began, status


LASTING: dict[str, Any] = {  # what goes on for 30 s unless it is ended, and with what
    "events": ("events", STREAM, 200),
    "logs": ("logs", STREAM, 200),
    "a long poll": ("?wait=30", {}, 401),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["revoked", "expired"])
@pytest.mark.parametrize("which", LASTING)
def test_what_lasts_ends_with_its_key(listen: Listen, which: str, how: str) -> None:
    service = listen(token="t")
    job_id, key = running(service)
    tail, headers, status = LASTING[which]
    path = f"/v1/jobs/{job_id}{tail}" if tail.startswith("?") else f"/v1/jobs/{job_id}/{tail}"
    key_id = "key_" + key["Authorization"].split("_")[1]
    ended: list[float] = []

    def end() -> None:
        until(lambda: service.app.state.watch.taken)  # it lasts: only now may its key end
        if how == "expired":
            with service.database.transaction() as session:
                session.get_one(ApiKey, key_id).expires_at = datetime.now(UTC) + timedelta(seconds=1)
        else:
            service.client.delete(f"/v1/api-keys/{key_id}").raise_for_status()
        ended.append(time.monotonic())

    ending = threading.Thread(target=end)
    ending.start()
    _, answered = seconds_of(service, path, {**headers, **key})
    over = time.monotonic()
    ending.join(60)

    assert answered == status
    assert over - ended[0] < LATE
    deadline = time.monotonic() + 10
    while service.app.state.watch.taken and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.app.state.watch.taken == 0
    assert service.client.get(f"/v1/jobs/{job_id}").status_code == 200  # others go on


@pytest.mark.slow
def test_a_stream_of_a_valid_key_goes_on(listen: Listen) -> None:
    service = listen(token="t")
    job_id, key = running(service)
    threading.Timer(4, lambda: service.client.post(f"/v1/jobs/{job_id}/cancel")).start()
    took, status = seconds_of(service, f"/v1/jobs/{job_id}?wait=30", key)
    assert (took > 3.5, status) == (True, 200)


def test_one_owner_leaves_as_many_places_as_it_has(service: Service) -> None:
    watch = service.app.state.watch
    watch.most = 20
    owners = [Caller(f"key_{name}", name, Scope.READ) for name in ("alice", "bob", "carol", "dave")]
    held = {owner.key: 0 for owner in owners}
    with ExitStack() as stack:
        for owner in owners:
            with suppress(TooManyWaiting):
                while held[owner.key] < 100:
                    stack.enter_context(watch.place(owner))
                    held[owner.key] += 1
        assert [number > 0 for number in held.values()] == [True] * 4
        assert held["key_alice"] <= 11
        for _ in range(watch.most - watch.taken):
            stack.enter_context(watch.place(LOOPBACK))  # the operator may have the rest
        with pytest.raises(TooManyWaiting):
            stack.enter_context(watch.place(LOOPBACK))
    assert watch.taken == 0
    with watch.place(owners[0]):  # and everything is free again
        pass


@pytest.mark.slow
def test_one_key_does_not_take_every_place(listen: Listen) -> None:
    service = listen(token="t", max_waiting=6)
    job_id, _ = running(service)
    greedy, other = service.key("root", "admin"), service.key("ops", "admin")
    took: list[tuple[float, int]] = []
    threads = [
        threading.Thread(target=lambda: took.append(seconds_of(service, f"/v1/jobs/{job_id}?wait=8", greedy)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    time.sleep(3)
    answer = httpx2.get(
        f"{str(service.client.base_url).rstrip(chr(47))}/v1/jobs/{job_id}?wait=1", headers=other, timeout=30
    )
    for thread in threads:
        thread.join()
    assert answer.status_code == 200, answer.text
    assert {status for _, status in took} == {200, 503}
