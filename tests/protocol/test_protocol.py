"""No reachable state of the protocol is unsafe or stuck, and each old rule is found out: the properties have teeth.

Each test prints the shortest trace to what it found: `pytest -s tests/protocol`.
"""

import pytest

from api.tables.states import MOVES, Status
from tests.protocol.explorer import Found, explore
from tests.protocol.model import Model
from tests.protocol.row import Rules

LATE_ACK = Rules(late_ack=True, timer=False)
DELETE_FENCED = Rules(delete_fenced=True)
REVIVED = {**MOVES, Status.SUCCEEDED: frozenset({Status.CANCELLING})}


def shown(found: Found) -> Found:
    what, trace = found.broken or ("no fair steps lead to rest from here", found.stuck or [])
    print(f"{len(found.states)} states", *([f"{what}, after:", *trace] if trace else []), sep="\n  ")
    return found


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Model(wishes=1), id="two-workers"),
        pytest.param(Model(jobs=2, workers=1, faults=1, wishes=1), id="a-job-that-waits-for-another"),
        pytest.param(Model(Rules(timer=False), faults=1), id="messages-alone-would-do"),  # the reaper rings again
        pytest.param(Model(), id="an-owner-who-changes-his-mind", marks=pytest.mark.slow),
        pytest.param(Model(jobs=2, faults=1, wishes=1), id="two-of-everything", marks=pytest.mark.slow),
    ],
)
def test_no_state_is_unsafe_and_all_come_to_rest(model: Model) -> None:
    found = shown(explore(model))
    assert found.broken is None
    assert found.stuck is None
    assert len(found.states) > 10_000  # it did look


def test_a_late_acknowledgement_wedges_the_worker() -> None:
    found = shown(explore(Model(LATE_ACK, workers=1, faults=1, wishes=1)))
    assert found.broken is None  # nothing is lost; it only never goes on
    assert found.stuck is not None
    assert found.stuck[-2:] == ["the broker goes away", "a worker fails to acknowledge"]


def test_deleting_what_a_fenced_attempt_has_stored_deletes_what_is_committed() -> None:
    found = shown(explore(Model(DELETE_FENCED)))
    assert found.broken is not None
    violated, trace = found.broken
    assert violated == "an artifact's row stands without its bytes"
    assert trace[-1] == "the worker of job 1 attempt 1 publishes and is fenced; deletes its files"
    assert "the worker of job 1 attempt 1 publishes; the COMMIT's answer is lost" in trace


@pytest.mark.parametrize(
    ("rules", "violated"),
    [
        (Rules(tell_later=True), "an end was never told"),
        (Rules(unfenced=True), "an attempt published after another had taken the job"),
        (Rules(moves=REVIVED), "a job that had succeeded moved without a retry"),
    ],
)
def test_each_rule_is_needed(rules: Rules, violated: str) -> None:
    found = shown(explore(Model(rules)))
    assert found.broken is not None
    assert found.broken[0] == violated
