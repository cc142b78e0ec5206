"""One owner's dead receivers and dead name servers cost nobody else anything."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from api.db import new_id, now
from api.tables.webhooks import Delivery, Webhook
from api.webhooks.delivery_rows import OF_OWNER, SLOTS, Candidate, choose
from api.webhooks.resolver import Resolver
from tests.api.conftest import Service, Start, listening
from tests.api.webhooks.conftest import INSIDE, MakeSender, Receiver

DEAD = 55
SECRETS = [{"secret": "whsec_c2VjcmV0", "until": None}]


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def due(service: Service, owner: str, *urls: str) -> None:
    """Make webhooks of an owner, each with a message that is due: those made later wait longer."""
    with service.database.transaction() as session:
        for url in urls:
            hook = Webhook(id=new_id("whk"), owner=owner, url=url, events=[], secrets=SECRETS, created_at=now())
            session.add(hook)
            session.flush()
            about = {"webhook_id": hook.id, "owner": owner, "event": "job.failed", "subject": hook.id, "body": "{}"}
            session.add(Delivery(id=new_id("msg"), **about))


@pytest.mark.parametrize(
    "how", ["names that no server resolves", pytest.param("receivers that do not answer", marks=pytest.mark.slow)]
)
def test_dead_receivers_of_others_delay_nobody(
    each_service: Service, receiver: Receiver, sender: MakeSender, silent: Resolver, deaf: str, how: str
) -> None:
    url = deaf if "receivers" in how else "http://{}.example/"
    for owner in ("mallory", "oscar", "trudy"):
        due(each_service, owner, *(url.format(f"{owner}{number}") for number in range(DEAD // 3 + 1)))
    one, stop = sender(each_service, silent, webhooks_retry_seconds=1000), threading.Event()
    threads = one.start(stop)
    try:
        time.sleep(1)  # they are all under way
        due(each_service, "bob", receiver.url)
        deadline = time.monotonic() + 30  # one after the other in four threads, the dead ones would take minutes
        while not receiver.came and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(receiver.came) == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def test_the_owner_with_the_fewest_under_way_goes_first_and_nobody_takes_all() -> None:
    greedy = [Candidate(f"g{number}", f"o{number % 7}", failing=True) for number in range(7 * 50)]
    new = [Candidate(f"n{number}", "new", failing=False) for number in range(50)]

    first = choose([*greedy, *new], [])
    second = choose([*greedy, *new], first)

    assert [each.owner for each in first].count("new") == OF_OWNER
    assert sum(each.failing for each in first) == SLOTS // 2
    assert {[each.owner for each in first].count(f"o{number}") for number in range(7)} <= {9, 10}
    assert second == []
    assert [each.id for each in choose([*greedy, Candidate("b", "bob", failing=False)], first)] == ["b"]


@pytest.mark.slow
def test_names_that_no_server_resolves_hold_up_no_request(start: Start, silent: Resolver) -> None:
    with start(rate_submit="", rate_default="", **INSIDE) as made:
        made.app.state.resolver = silent
        with listening(made.app) as service:
            answers: list[int] = []

            def create(number: int) -> None:
                answer = service.client.post("/v1/webhooks", json={"url": f"http://x{number}.example/"}, timeout=60)
                answers.append(answer.status_code)

            threads = [threading.Thread(target=create, args=(number,)) for number in range(DEAD)]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            began = time.monotonic()
            service.client.post("/v1/webhooks", json={"url": "http://127.0.0.1:1/"}).raise_for_status()
            seconds = time.monotonic() - began
            for thread in threads:
                thread.join(60)

    assert seconds < 2.5  # a name is waited for for three seconds
    assert answers == [422] * DEAD
