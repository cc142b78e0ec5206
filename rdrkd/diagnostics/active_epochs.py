"""The epochs in which a term was on: a schedule's factor is 0 at the start of its warm-up and in its last epochs.

A term's figures cover only the epochs in which it was on. A term whose weight is 0 throughout was never on, and its
figures cover all epochs.
"""

from rdrkd.diagnostics.history import Row, Run
from rdrkd.diagnostics.words import epochs

FACTOR = "schedule/factor"


def never(run: Run, term: str) -> bool:
    """Return whether a term was off in every epoch."""
    return bool(run.rows) and not any(_on(row, term) for row in run.rows)


def on(run: Run, term: str) -> list[Row]:
    """Return the epochs in which a term was on, even partly."""
    return run.rows if never(run, term) else [row for row in run.rows if _on(row, term)]


def probed(run: Run, term: str) -> list[Row]:
    """Return the epochs in whose probe a term was on."""
    return run.rows if never(run, term) else [row for row in run.rows if _probed_on(row, term)]


def sentences(run: Run, term: str) -> list[str]:
    """Describe the epochs in which a term was off or was probed while off; empty for a term that was never on."""
    if never(run, term):
        return []
    off = [row.epoch for row in run.rows if not _on(row, term)]
    early = [row.epoch for row in run.rows if _on(row, term) and _idle(row, term)]
    said = [f"off in {epochs(off)}"] if off else []
    return said + ([f"off when {epochs(early)} began and was probed"] if early else [])


def note(run: Run) -> str:
    """Return a sentence on the epochs and probes left out of a table of terms."""
    by_term = {term: " and ".join(sentences(run, term)) for term in run.terms}
    same = len(set(by_term.values())) == 1
    said = list(dict.fromkeys(text if same else f"{term} {text}" for term, text in by_term.items() if text))
    return f"What a term was while it was off does not count: {'; '.join(said)}." if said else ""


def spans(run: Run) -> list[tuple[int, int]]:
    """Return the first and last epoch of each period in which all terms that were ever on were off."""
    terms = [term for term in run.terms if not never(run, term)]
    found: list[tuple[int, int]] = []
    for row in run.rows if terms else []:
        if any(_on(row, term) for term in terms):
            continue
        joins = bool(found) and found[-1][1] == row.epoch - 1
        found = [*found[:-1], (found[-1][0], row.epoch)] if joins else [*found, (row.epoch, row.epoch)]
    return found


def _on(row: Row, term: str) -> bool:
    """Return whether its weight was non-zero at the epoch's end or at the probe; unknown weights count as non-zero."""
    return row.weights.get(term) != 0 or row.diagnostics.get(f"{term}/ratio", 0) > 0


def _probed_on(row: Row, term: str) -> bool:
    return f"{term}/ratio" in row.diagnostics and not _idle(row, term)


def _idle(row: Row, term: str) -> bool:
    """Return whether the term was off at the probe; a ratio of 0 may also mean a term without gradient."""
    off = row.diagnostics.get(FACTOR) == 0 or row.weights.get(term) == 0
    return row.diagnostics.get(f"{term}/ratio") == 0 and off
