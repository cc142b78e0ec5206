"""A GET writes nothing and opens no transaction: every operation that reads, whatever there is to read."""

import hashlib
import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event, select, update

from api.caller import READING
from api.db import Base
from api.tables.keys import ApiKey
from api.tables.states import Status
from tests.api.conftest import Service, Start
from tests.api.contract.test_contract import INWARD, UNLIMITED, known
from tests.api.uploads.resumable.test_uploads import CONTENT, begin, died_at_the_end, send
from tests.servers import Postgres

OPERATED: dict[str, Any] = {"token": "t", "headers": {"Authorization": "Bearer t"}}


@pytest.mark.slow
def test_no_operation_that_reads_writes(start: Start, tmp_path: Path) -> None:
    with start(**INWARD, **UNLIMITED, **OPERATED) as service:
        there = populated(service, tmp_path)
        headers = reader(service)
        document = service.client.get("/openapi.json", headers=headers).json()
        state, answers = State(service), dict[str, set[int]]()
        before = state.read()
        outside, inside = transactions(service.app.state.database.engine)

        for method, template, address in addresses(document, there):
            answer = service.client.request(method, address, headers=headers)
            answers.setdefault(f"{method} {template}", set()).add(answer.status_code)
            assert state.read() == before, f"{method} {address} has written"
            assert not inside, f"{method} {address}: {inside}"

    assert outside
    reading = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert set(answers) == {each for each in reading if each.partition(" ")[0] in READING}
    assert all(status < 500 for statuses in answers.values() for status in statuses)
    # Of anything that is never there this would say nothing; for these a worker would have had to look at real files.
    missed = {each.partition(" ")[2] for each, statuses in answers.items() if not statuses & {200, 204}}
    drawn = {f"/v1/datasets/{{dataset_id}}/{what}" for what in ("preview", "images", "images/{number}")}
    assert missed <= drawn | {"/v1/studies/{study_id}/report"}


@pytest.mark.slow
def test_nor_does_one_open_a_transaction_on_postgres(postgres: Postgres, start: Start, tmp_path: Path) -> None:
    with (
        postgres.migrated() as url,
        start(**INWARD, **UNLIMITED, **OPERATED, database_url=url, migrate_on_start=False) as service,
    ):
        there = populated(service, tmp_path)
        headers = reader(service)
        document = service.client.get("/openapi.json", headers=headers).json()
        engine = service.app.state.database.engine
        outside, inside = transactions(engine)

        for method, _, address in addresses(document, there):
            if address != "/readyz":  # Alembic reads the schema's revision
                service.client.request(method, address, headers=headers).read()
                assert not inside, f"{method} {address}: {inside}"

        assert len(outside) > 100
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")
        assert inside  # would not have been missed


@pytest.mark.slow
def test_a_list_takes_no_more_queries_for_more_rows(start: Start, tmp_path: Path) -> None:
    with start(**INWARD, **UNLIMITED, **OPERATED) as service:
        for number in range(3):
            (folder := tmp_path / str(number)).mkdir()
            there = populated(service, folder)
        headers = reader(service)
        document = service.client.get("/openapi.json", headers=headers).json()
        outside, _ = transactions(service.app.state.database.engine)
        longer = set()

        def asked(address: str, limit: int) -> tuple[int, int]:
            """Return the numbers of rows and of queries; the newest third has a row of each kind, as the rest has."""
            took = []
            for _ in range(2):  # now and then the guard reads the key anew
                outside.clear()
                answer = service.client.get(f"{address}?limit={limit}", headers=headers)
                took.append(len(outside))
            return len(answer.json().get("data", [])), min(took)

        for _, template, address in addresses(document, there):
            operation = document["paths"][template].get("get", {})
            if "?" in address or "limit" not in [each["name"] for each in operation.get("parameters", [])]:
                continue
            many, for_many = asked(address, 100)
            few, for_few = asked(address, max(1, many // 3))
            longer |= {template} if many > few else set()
            assert for_many <= for_few, f"{address}: {for_few} queries for {few} rows, {for_many} for {many}"
    assert {"/v1/jobs", "/v1/datasets", "/v1/models", "/v1/studies"} <= longer


def reader(service: Service) -> dict[str, str]:
    """Return the header of an admin's key whose use the guard need not note in the middle of the walk."""
    headers = service.key("operator", "admin")
    with service.database.transaction() as session:
        session.execute(update(ApiKey).values(last_used_at=datetime(2999, 1, 1, tzinfo=UTC)))
    return headers


def transactions(engine: Engine) -> tuple[list[str], list[str]]:
    """Return two lists, which fill with the statements that run outside and inside a transaction.

    The drivers are asked, not SQLAlchemy: what it calls a transaction may be none to the database.
    """
    outside, inside = list[str](), list[str]()

    @event.listens_for(engine, "after_cursor_execute")
    def _note(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        driver = cursor.connection
        open_ = (
            driver.in_transaction
            if engine.dialect.name == "sqlite"
            else driver.info.transaction_status != TransactionStatus.IDLE
        )
        (inside if open_ else outside).append(statement)

    return outside, inside


def populated(service: Service, folder: Path) -> dict[str, list[str]]:
    """Put in one of everything, also what an unlucky moment leaves; return ids by the name that a path gives them."""
    service.key()
    there = known(service)
    service.settle()  # the model
    held = service.bring(service.job(), Status.RUNNING)
    service.publish(held, 1, b"weights", folder)
    service.epoch(held, 1)
    service.end(held, Status.SUCCEEDED)
    whole = begin(service)
    send(service, whole, CONTENT, 0)
    uploads = [whole, died_at_the_end(service), died_at_the_end(service, age=3600, sha256="0" * 64)]
    there["job_id"].append(held.id)
    there["upload_id"] += [address.rpartition("/")[2] for address in uploads]
    return there


def addresses(document: dict[str, Any], there: dict[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield method, template and address of everything that can be read, with each value of each choice."""
    for template, methods in document["paths"].items():
        names = re.findall(r"{(\w+)}", template)
        for method, operation in methods.items():
            if method.upper() not in READING:
                continue
            for ids in itertools.product(*(there[name] for name in names)):
                address = template.format(**dict(zip(names, ids, strict=True)))
                for query in ["", *choices(operation)]:
                    yield method.upper(), template, address + query


def choices(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query":
            schemas = [parameter["schema"], *parameter["schema"].get("anyOf", [])]
            for value in (value for schema in schemas for value in schema.get("enum", [])):
                yield f"?{parameter['name']}={value}"


class State:
    """Every row of the database and every file of the store."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connection = service.database.engine.raw_connection()
        self._version: object = None
        self._rows: dict[str, list[Any]] = {}

    def read(self) -> tuple[dict[str, list[Any]], dict[str, tuple[int, str]]]:
        """Return them; the rows are read anew only after a write by another connection, to spare time."""
        version = self._connection.cursor().execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version, self._rows = version, self._read()
        paths = [path for path in self._service.storage.root.rglob("*") if path.is_file()]
        files = {str(each): (each.stat().st_mtime_ns, hashlib.sha256(each.read_bytes()).hexdigest()) for each in paths}
        return self._rows, files

    def _read(self) -> dict[str, list[Any]]:
        rows = {}
        with self._service.database.transaction() as session:
            for table in Base.metadata.sorted_tables:
                rows[table.name] = sorted(map(repr, session.execute(select(table)).all()))
        return rows
