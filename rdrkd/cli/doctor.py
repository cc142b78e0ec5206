"""`rdrkd doctor`: check a deployment from outside, and suggest how to fix what is wrong."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import typer

import rdrkd
from rdrkd.cli.connection import URL, Json, TokenFile, Url, connected
from rdrkd.events import EXIT_DONE, EXIT_FAILED
from rdrkd.figures import size

if TYPE_CHECKING:
    from rdrkd.client import Client

QUEUES = {"train": "jobs", "inspect": "checks of uploads"}
PATIENCE_SECONDS = 60.0  # a claimable job that waits longer than this is considered stuck

NEARLY_FULL = 0.9  # of a quota
SHOWN = 3  # ids in a finding


class Finding(NamedTuple):
    """What was checked, its state, and what to do."""

    what: str
    state: Literal["ok", "warning", "fault"]
    detail: str
    advice: str = ""


def findings(service: "Client") -> Iterator[Finding]:
    """Check everything that the client's key can see.

    Raises:
        ClientError: the service does not answer at all, or rejects this key.
    """
    yield from _version(service.version())
    yield from _readiness(service)
    present = service.workers()
    for queue in QUEUES:
        yield _workers(queue, [worker for worker in present if worker["queue"] == queue])
    yield from _devices(present)
    yield _queue(service.queue())
    yield from _usage(service)
    yield from _webhooks(list(service.webhooks()))


def _webhooks(there: list[dict[str, Any]]) -> Iterator[Finding]:
    if not there:
        return
    lost = [hook["id"] for hook in there if not hook.get("can_sign", True)]  # earlier versions do not report it
    if not lost:
        yield Finding("webhooks", "ok", str(len(there)))
        return
    shown = ", ".join(lost[:SHOWN]) + (f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else "")
    detail = f"the encryption key of {len(lost)} of {len(there)} is lost or was changed, nothing is sent to {shown}"
    advice = (
        "restore the key from its backup: RDRKD_ENCRYPTION_KEYS, rdrkd_encryption_keys in RDRKD_SECRETS_DIR, or "
        "encryption.key in RDRKD_DATA_DIR, the same for API and reaper; if there is none, rotate the secret of each: "
        "POST /v1/webhooks/{id}/rotate"
    )
    yield Finding("webhooks", "fault", detail, advice)


def _usage(service: "Client") -> Iterator[Finding]:
    from rdrkd.client import Refused

    try:
        usage = service.usage()
    except Refused:  # a service of an earlier version, which `version` reports
        return
    if usage["quota_bytes"] is not None:
        yield _of_owner(usage, usage["quota_bytes"])
    if (there := usage["service"]) is not None:
        yield _disk(there)
        most = [f"{each['owner'] or 'the operator'} {size(each['used']['total'])}" for each in there["owners"][:3]]
        yield Finding("stored", "ok", ", ".join(most) or "nothing")
        for cache in there["caches"]:
            detail = f"{cache['entries']} with {size(cache['bytes'])}, of which {size(cache['evictable_bytes'])} unused"
            goes = f"; {size(cache['excess_bytes'])} go next" if cache["excess_bytes"] else ""
            yield Finding(f"cache of {cache['name']}", "ok", detail + goes)


def _of_owner(usage: dict[str, Any], quota: int) -> Finding:
    total, used = usage["used"]["total"], usage["used"]
    coming = used["announced"] + used["reserved"]
    detail = f"{size(total)} of {size(quota)}, of which {size(coming)} are to come"
    if total > NEARLY_FULL * quota:
        return Finding("storage quota", "warning", detail, "delete datasets, models or jobs that are not needed")
    return Finding("storage quota", "ok", detail)


def _disk(there: dict[str, Any]) -> Finding:
    left = there["free_bytes"] - there["unwritten_bytes"]
    detail = f"{size(there['free_bytes'])} free, {size(there['unwritten_bytes'])} reserved"
    if left < there["min_free_bytes"]:
        advice = "make room, or lower RDRKD_MIN_FREE_BYTES: uploads and jobs are rejected"
        return Finding("disk", "fault", f"{detail}, expected {size(there['min_free_bytes'])} to stay free", advice)
    return Finding("disk", "ok", detail)


def _version(there: dict[str, Any]) -> Iterator[Finding]:
    if there["version"] == rdrkd.__version__:
        yield Finding("version", "ok", there["version"])
    else:
        detail = f"the service is {there['version']}, this client {rdrkd.__version__}"
        yield Finding("version", "warning", detail, "install the service's version here")


def _readiness(service: "Client") -> Iterator[Finding]:
    from rdrkd.client import Refused

    try:
        ready = service.readiness()
    except Refused as refused:
        yield Finding("database", "fault", str(refused), "see that RDRKD_DATABASE_URL leads to a server that runs")
        return
    yield Finding("database", "ok", "answers, and has the newest revision")
    broker = "start it; see RDRKD_BROKER_URL. Until then the reaper starts jobs, late"
    storage = (
        "see RDRKD_STORAGE_URL, its keys, and RDRKD_DATA_DIR: without it there are no uploads, downloads or trainings"
    )
    yield _up("broker", ready["broker"], "warning", broker)
    yield _up("storage", ready["storage"], "fault", storage)


def _up(what: str, state: str, otherwise: Literal["warning", "fault"], advice: str) -> Finding:
    return Finding(what, "ok", "answers") if state == "ok" else Finding(what, otherwise, state, advice)


def _workers(queue: str, present: list[dict[str, Any]]) -> Finding:
    what, alive = f"workers for {QUEUES[queue]}", [worker for worker in present if worker["alive"]]
    gone = [worker["name"] for worker in present if not worker["alive"]]
    if not alive:
        last = f"; the last was {gone[-1]}" if gone else ""
        return Finding(what, "fault", f"none{last}", f"start one: python -m worker --queue {queue}")
    unfit = [f"{worker['name']}: {worker['complaint']}" for worker in alive if worker.get("complaint")]
    if unfit:
        state: Literal["warning", "fault"] = "fault" if len(unfit) == len(alive) else "warning"
        return Finding(what, state, "; ".join(unfit), "mend what they lack: they take work again by themselves")
    others = sorted({worker["version"] for worker in alive} - {rdrkd.__version__})
    if others:
        return Finding(what, "warning", f"of the versions {', '.join(others)}", "let all run the same version")
    if gone:
        return Finding(
            what, "warning", f"{len(alive)}; without a beat: {', '.join(gone)}", "see whether they were lost"
        )
    return Finding(what, "ok", str(len(alive)))


def _devices(present: list[dict[str, Any]]) -> Iterator[Finding]:
    trainers = [worker for worker in present if worker["alive"] and worker["queue"] == "train"]
    if not trainers:
        return
    names = [device["name"] for worker in trainers for device in worker["devices"]]
    if names:
        yield Finding("GPUs", "ok", ", ".join(names))
    else:
        advice = (
            "if the machine has one: a driver, and in a container `--gpus`, or the compose file without its .cpu.yml"
        )
        yield Finding("GPUs", "warning", "no worker has one: trainings run on processors, and take days", advice)


def _queue(queue: dict[str, Any]) -> Finding:
    counts = ", ".join(f"{count} {status}" for status, count in queue["counts"].items() if count) or "empty"
    waits = queue["oldest_seconds"] or 0.0
    if queue["claimable"] and waits > PATIENCE_SECONDS and queue["counts"].get("running", 0) < queue["workers"]:
        detail = f"{counts}; the oldest has waited {waits:.0f} s though a worker is free"
        return Finding(
            "queue", "warning", detail, "see that the broker is up and the reaper runs: python -m api.reaper"
        )
    return Finding("queue", "ok", counts)


def doctor(url: Url = URL, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Check a service: report what is wrong, and how to fix it; exit status 3 if it cannot work."""
    with connected(url, token_file, as_json) as (service, terminal):
        found = list(findings(service))
        terminal.many("findings", [finding._asdict() for finding in found])
        raise typer.Exit(EXIT_FAILED if any(finding.state == "fault" for finding in found) else EXIT_DONE)
