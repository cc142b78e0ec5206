"""The short form of `make test-faults`: a fixed seed, few jobs, every kind of fault that can be injected here."""

import pytest

from tests.faults.run import Plan, run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("backend", ["embedded", "servers"])
def test_nothing_is_lost_double_untold_or_wedged(backend: str) -> None:
    # Thrice the time to claim again: other tests share the processors.
    account = run(Plan(backend, seed=11, jobs=60, claims_within=30))
    print(account.summary, *(f"== {name}\n{log}" for name, log in account.logs.items()), sep="\n")
    assert not account.violations
    assert account.summary["faults"] >= 20
    assert len(account.summary["faults_by_kind"]) >= 10
