"""The effect of each term, in one sentence with its numbers."""

from math import sqrt
from statistics import mean, median, variance
from typing import NamedTuple

from rdrkd.diagnostics import active_epochs
from rdrkd.diagnostics.findings import STRONG, WEAK
from rdrkd.diagnostics.history import Row, Run, at, finite
from rdrkd.diagnostics.words import number, span, way

# judgement -> its text; a single probe is noise, so a term is judged by the median of its ratios
CALLED = {
    "fair": "takes part",
    "weak": "hardly moves the student",
    "strong": "drowns the task",
    "off": "off",
    "unknown": "not probed",
}
_ASIDE = 0.1  # |cosine| below which a gradient counts as neither with nor against the task's
_TURN = 0.2  # least change of the cosine between the first and the last third of the probes that is mentioned
_FEWEST = 3  # least number of probes in a third for a meaningful mean


class Verdict(NamedTuple):
    """A term, a judgement (a key of `CALLED`) and the sentence."""

    term: str
    judgement: str
    sentence: str


def verdicts(run: Run) -> list[Verdict]:
    """Return a verdict on each term of a run."""
    return [_verdict(run, term) for term in run.terms]


def weighting(run: Run) -> str:
    """Return a sentence on the schedule of the weights; empty without one."""
    schedule = run.setting("distillation", "schedule")
    shape, end, warmup, stop = (at(schedule, key) for key in ("shape", "end", "warmup_epochs", "stop_epochs"))
    said = [f"up from 0 in the first {number(finite(warmup))} epochs"] if warmup else []
    said += [f"then {shape} to {number(finite(end))} times"] if shape in ("linear", "cosine") else []
    said += [f"off in the last {number(finite(stop))}"] if stop else []
    return f"Schedule of all weights: {', '.join(said)}." if said else ""


def _verdict(run: Run, term: str) -> Verdict:
    weights = [row.weights[term] for row in run.rows if term in row.weights]
    if weights and not any(weights):
        return Verdict(term, "off", "weight 0 in every epoch.")
    weights = [row.weights[term] for row in active_epochs.on(run, term) if term in row.weights]
    probed = [row for row in active_epochs.probed(run, term) if f"{term}/ratio" in row.diagnostics]
    said = [_weight(run, term, weights), *active_epochs.sentences(run, term), *_gradient(run, term, probed),
            *_direction(term, probed), _value(run, term)]  # fmt: skip
    return Verdict(term, _judgement(term, probed), "; ".join(part for part in said if part) + ".")


def _judgement(term: str, probed: list[Row]) -> str:
    if not probed:
        return "unknown"
    usual = median(_figures(term, "ratio", probed))
    return "weak" if usual < WEAK else "strong" if usual > STRONG else "fair"


def _figures(term: str, figure: str, probed: list[Row]) -> list[float]:
    key = f"{term}/{figure}"
    return [row.diagnostics[key] for row in probed if key in row.diagnostics]


def _weight(run: Run, term: str, weights: list[float]) -> str:
    if not weights:
        return "its history is missing" if run.history_missing else "no epoch is finished"
    calibration = run.setting("distillation", "calibration")
    own = finite(at(calibration, "shares", term))
    target = own if own is not None else finite(at(calibration, "share"))
    how = f" (calibrated to {number(target)} × the task's gradient)" if calibration else ""
    peak = max(weights)  # a schedule may rise and fall
    passed = [peak] if peak > 1.01 * max(weights[0], weights[-1]) else []
    return f"weight {way([weights[0], *passed, weights[-1]], number)}{how}"


def _gradient(run: Run, term: str, probed: list[Row]) -> list[str]:
    if not probed:
        return []
    ratios = _figures(term, "ratio", probed)
    said = f"gradient {number(ratios[0])} × the task's in epoch {probed[0].epoch}"
    if len(probed) == 1:
        return [said]
    said += f", {number(ratios[-1])} × in epoch {probed[-1].epoch} (median {number(median(ratios))} ×)"
    strongest = _strongest(run, term, probed)
    return [said, f"strongest through {strongest}"] if strongest else [said]


def _strongest(run: Run, term: str, probed: list[Row]) -> str:
    """Return the part with the largest gradient over the run, if there are several."""
    found = {part: _figures(term, f"{part}/ratio", probed) for part in run.parts(term)}
    usual = {part: median(ratios) for part, ratios in found.items() if ratios}
    return max(usual, key=lambda part: usual[part]) if len(usual) > 1 else ""


def _direction(term: str, probed: list[Row]) -> list[str]:
    cosines = _figures(term, "cosine", probed)
    if not cosines:
        return []
    usual, along = median(cosines), sum(cosine > 0 for cosine in cosines)
    said, figures = _towards(usual), f"cosine {number(usual)}"
    if abs(usual) >= _ASIDE and 0 < along < len(cosines):
        said = f"mostly {said}"
    if len(cosines) > 1:
        figures = f"median {figures}, above 0 in {along} of {len(cosines)} probes"
    if turn := _turn(cosines):
        began, ended = turn
        if _towards(began) != _towards(ended):
            said = f"{_towards(began)} at first, {_towards(ended)} at the end"
        else:
            said += f", {'more' if abs(ended) > abs(began) else 'less'} so at the end"
        figures += f", mean {number(began)} in the first third and {number(ended)} in the last"
    return [f"{said} ({figures})"]


def _towards(cosine: float) -> str:
    if abs(cosine) < _ASIDE:
        return "neither with nor against the task"
    return "with the task" if cosine > 0 else "against the task"


def _turn(cosines: list[float]) -> tuple[float, float] | None:
    """Return the means of the first and the last third, if they differ by more than the batches' noise."""
    count = len(cosines) // 3
    if count < _FEWEST:
        return None
    first, last = cosines[:count], cosines[-count:]
    began, ended = mean(first), mean(last)
    error = sqrt((variance(first) + variance(last)) / count)  # standard error of the difference
    return (began, ended) if abs(ended - began) >= max(_TURN, 2 * error) else None


def _value(run: Run, term: str) -> str:
    values = [row.losses[term] for row in active_epochs.on(run, term) if term in row.losses]
    return f"value {span(values, number)}" if values else ""
