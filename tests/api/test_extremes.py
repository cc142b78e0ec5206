"""Numbers and moments at the edge of what a column, a driver or Python can hold are answered, never a crash."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from api.jobs import examples as jobs
from api.jobs.claims import Held
from api.studies import examples as studies
from api.tables.states import Status
from tests.api.conftest import Service, Start
from tests.servers import Postgres

NUMBERS = [
    "-1", "0", "1", "2147483647", "2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
    "99999999999999999999", "9" * 4400, "1e400", "-1e400", "nan", "1.5", "0x10", "\u0663", "+1", "1_0", "",
]  # fmt: skip
MOMENTS = [
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00-12:00", "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59+14:00", "9999-12-31T23:59:59-12:00", "10000-01-01T00:00:00Z",
    "2126-02-30T00:00:00Z", "2126-01-01T00:00:00+99:00", "2126-06-30T23:59:60Z",
]  # fmt: skip
TEXTS = ["a@99999999999999999999", "a@0", "a@1", "\u0000", "a\u0000b@1", "x" * 5000, "\ud800", "job_" + "f" * 32]
BODIES: dict[str, Any] = {
    "/v1/api-keys": {"name": "n", "owner": "o", "scope": "read", "expires_at": "2126-01-01T00:00:00Z"},
    "/v1/webhooks": {"url": "https://93.184.215.14/", "events": ["job.succeeded"]},
    **{f"/v1/jobs#{name}": example["value"] for name, example in jobs.JOBS.items()},
    **{f"/v1/studies#{name}": example["value"] for name, example in studies.STUDIES.items()},
}
CHANGE = {
    "name": "n", "labels": {"a": "b"}, "priority": 1, "timeout_seconds": 60, "deadline": "2126-01-01T00:00:00Z"
}  # fmt: skip
HEADERS = {  # in what form, and where
    "Range": (("bytes={}-", "bytes=0-{}", "bytes=-{}"), "/weights"),
    "If-Range": (("{}",), "/weights"),
    "If-None-Match": (('W/"{}"',), "/weights"),
    "Last-Event-ID": (("{}", "{}-{}", "0-{}"), "/events /logs"),
    "Upload-Offset": (("{}",), "/v1/uploads"),
    "Upload-Length": (("{}",), "/v1/uploads"),
}


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _leaves(inner, (*path, key))
    if path and not isinstance(value, dict | list):
        yield path


def _with(body: Any, path: tuple[Any, ...], raw: str) -> str:
    """Write the body as JSON with `raw` at `path`, as it stands: Python has no number such as 1e400."""
    copy = json.loads(json.dumps(body))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "\u2603"
    return json.dumps(copy).replace(json.dumps("\u2603"), raw)


def _fine(answer: Any, what: str) -> None:
    assert answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"


KEY, JOB = BODIES["/v1/api-keys"], BODIES["/v1/jobs#train"]
KNOWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a key that ends in the year 1": ("POST", "/v1/api-keys", KEY | {"expires_at": "0001-01-01T00:00:00+14:00"}),
    "a key that ends in the year 9999": ("POST", "/v1/api-keys", KEY | {"expires_at": "9999-12-31T23:59:59-12:00"}),
    "a label like a version": ("POST", "/v1/jobs", JOB | {"labels": {"model": "a@99999999999999999999"}}),
    "a dataset with a NUL": ("POST", "/v1/jobs", JOB | {"dataset": "a\u0000b"}),
    "an id with a NUL": ("POST", "/v1/jobs/%00/resume", {}),
}


@pytest.mark.parametrize("which", KNOWN)
def test_what_once_was_a_crash(operated: Service, which: str) -> None:
    method, path, body = KNOWN[which]
    answer = operated.client.request(method, path, json=body)
    assert answer.status_code in (404, 422), answer.text


@pytest.mark.slow
def test_every_field_of_a_body(operated: Service) -> None:
    job_id = operated.job()
    bodies = {**{("POST", path): body for path, body in BODIES.items()}, ("PATCH", f"/v1/jobs/{job_id}"): CHANGE}
    strings = [json.dumps(text) for text in (*NUMBERS[-9:], *MOMENTS, *TEXTS)]
    seen: set[tuple[Any, ...]] = set()
    for (method, path), body in bodies.items():
        for leaf in _leaves(body):
            place = (path.partition("#")[0], *(0 if isinstance(key, int) else key for key in leaf))
            if place in seen:
                continue
            seen.add(place)
            for raw in [*(n for n in NUMBERS if re.fullmatch(r"-?\d+(\.\d+|e\d+)?", n, re.ASCII)), *strings]:
                text = _with(body, leaf, raw)
                headers = {"Content-Type": "application/json", "If-Match": "*"}
                answer = operated.client.request(method, path.partition("#")[0], content=text, headers=headers)
                _fine(answer, f"{method} {path} {leaf} = {raw[:60]}")
    assert operated.client.get("/v1/api-keys").status_code == 200  # what was taken can be shown
    assert operated.client.get("/v1/jobs").status_code == 200


def _addresses(service: Service) -> Iterator[tuple[str, str, dict[str, Any]]]:
    job_id = service.job(Status.RUNNING)
    service.publish(Held(job_id, 1, "train", {}, 60), 1, b"w", service.storage.root)
    known = {"job_id": job_id, "dataset_id": service.dataset(), "name": "student.pt"}
    for path, item in service.app.openapi()["paths"].items():
        for method, operation in item.items():
            yield method, re.sub(r"{(\w+)}", lambda m: known.get(m[1], "x_" + "0" * 32), path), operation


def _hostile(schema: dict[str, Any]) -> list[str]:
    """Return the values that a parameter of this schema may choke on."""
    told = json.dumps(schema)
    return NUMBERS if '"integer"' in told or '"number"' in told else MOMENTS if '"date-time"' in told else TEXTS[:-2]


@pytest.mark.slow
def test_every_parameter_of_a_query(operated: Service) -> None:
    for method, path, operation in _addresses(operated):
        for parameter in operation.get("parameters", []):
            if method == "get" and parameter["in"] == "query":
                for value in _hostile(parameter["schema"]):
                    if parameter["name"] != "wait" or not re.fullmatch(r"[0-9.]{1,2}", value):
                        answer = operated.client.get(path, params={parameter["name"]: value})
                        _fine(answer, f"{path}?{parameter['name']}={value[:60]}")


@pytest.mark.slow
def test_every_header_that_holds_a_number(operated: Service) -> None:
    streams = {"Accept": "text/event-stream"}
    ended = operated.job(Status.FAILED)
    for method, path, _ in list(_addresses(operated)):
        for header, (forms, places) in HEADERS.items():
            if any(place in path for place in places.split()):
                for sent in (form.replace("{}", value).encode() for form in forms for value in NUMBERS):
                    also = streams if header == "Last-Event-ID" else {"Tus-Resumable": "1.0.0"}
                    asked = re.sub("job_[0-9a-f]{32}", ended, path) if header == "Last-Event-ID" else path
                    answer = operated.client.request(method, asked, headers={**also, header: sent})
                    _fine(answer, f"{method} {asked} {header}: {sent[:60]!r}")


@pytest.mark.slow
def test_every_identifier_of_a_path(operated: Service) -> None:
    for method, path, _ in _addresses(operated):
        for place in [part for part in path.split("/") if re.fullmatch("[a-z]+_[0-9a-f]{32}|student.pt", part)]:
            for value in ("9" * 400, "%00", "%FF", "a@99999999999999999999"):
                _fine(operated.client.request(method, path.replace(place, value)), f"{method} {path} {value[:40]}")


def test_the_last_moment_is_read_back_under_every_time_zone(postgres: Postgres, start: Start) -> None:
    """A driver that converts to the server's own zone cannot show the year 9999, whose last hours are 10000 there."""
    with postgres.migrated() as url:
        postgres._execute(
            postgres.admin_url,
            f"ALTER DATABASE {url.rpartition('/')[2].partition('?')[0]} SET timezone = 'Pacific/Apia'",
        )
        with start(database_url=url, migrate_on_start=False) as service:
            body = BODIES["/v1/api-keys"] | {"scope": "admin", "expires_at": "9999-12-31T23:59:59Z"}
            made = service.client.post("/v1/api-keys", json=body)
            assert (made.status_code, made.json()["expires_at"]) == (201, "9999-12-31T23:59:59Z")
