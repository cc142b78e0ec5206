"""Whose things are whose: another's are not there, an admin sees all, and no address forgets to ask."""

import re
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import delete, event, func, select, update

from api.caller import Caller, Scope
from api.ownership import EVERYBODYS, NotOwner, bind
from api.tables.audit import Audit
from api.tables.datasets import Dataset
from api.tables.jobs import Job
from api.tables.models import Model
from api.tables.shares import Share
from api.tables.states import Status
from api.uploads import shares
from api.uploads.datasets import service as datasets
from tests.api.conftest import Service, Start
from tests.api.uploads.resumable import refusals
from tests.api.uploads.resumable.test_announcement import metadata
from tests.servers import Postgres

TRAIN = {"kind": "train", "model": {"architecture": "yolov8n"}}
STUDY = {
    "name": "s",
    "teacher": {"model": {"architecture": "yolov8l"}, "train": {"epochs": 1}},
    "student": {"architecture": "yolov8n"},
    "methods": ["none"],
    "seeds": [0],
}
# Where an empty body, or one without these headers, would be refused for itself.
BODIES = {"extend_study": {"seeds": [1]}}
HEADERS = {"change_job": {"If-Match": "*"}, "append_to_upload": refusals.PIECE}


class People:
    """Alice with one of everything, Bob, and an admin."""

    LONGEST = "o" * 64  # name of an owner

    def __init__(self, service: Service) -> None:
        self.service = service
        self.alice, self.bob = service.key("alice"), service.key("bob")
        self.admin = service.key("ops", "admin")
        self.dataset, self.model = self.upload("datasets", "a.zip"), self.upload("models", "a.pt")
        self.job = self.post("jobs", TRAIN | {"dataset": self.dataset})
        self.study = self.post("studies", STUDY | {"dataset": self.dataset})

    def upload(self, feature: str, filename: str) -> str:
        files = {"file": (filename, b"PK\x05\x06" + bytes(18))}
        answer = self.service.client.post(f"/v1/{feature}", files=files, headers=self.alice)
        self.service.settle()
        return str(answer.raise_for_status().json()["id"])

    def announce(self) -> str:
        announced = {"Upload-Length": "10", "Upload-Metadata": metadata(kind="dataset", filename="b.zip")}
        answer = self.service.client.post("/v1/uploads", headers=self.alice | announced)
        return str(answer.raise_for_status().json()["id"])

    def post(self, feature: str, body: dict[str, Any]) -> str:
        answer = self.service.client.post(f"/v1/{feature}", json=body, headers=self.alice)
        return str(answer.raise_for_status().json()["id"])

    def ids(self, feature: str, headers: dict[str, str]) -> list[str]:
        return [row["id"] for row in self.service.client.get(f"/v1/{feature}", headers=headers).json()["data"]]


@pytest.fixture
def people(each_service: Service) -> People:
    return People(each_service)


def test_lists_show_ones_own_and_an_admin_everybodys(people: People) -> None:
    for feature, one in (("datasets", people.dataset), ("models", people.model), ("studies", people.study)):
        assert people.ids(feature, people.alice) == [one]
        assert people.ids(feature, people.bob) == []
        assert people.ids(feature, people.admin) == [one]
    assert people.job in people.ids("jobs", people.alice)
    assert people.ids("jobs", people.bob) == []
    shown = people.service.client.get("/v1/jobs", headers=people.admin).json()["data"]
    assert {job["owner"] for job in shown} == {"alice"}


@pytest.mark.slow
def test_no_address_answers_for_anothers_things(people: People) -> None:
    """All operations that name a thing, also those that are added after this test was written."""
    client = people.service.client
    ids = {"dataset_id": people.dataset, "model_id": people.model, "job_id": people.job, "study_id": people.study}
    ids["upload_id"] = people.announce()
    others = {"number": "0"}
    asked = 0
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        names = [name for name in re.findall(r"{(\w+)}", path) if name in ids]
        for method, operation in methods.items() if names else ():
            address = re.sub(r"{(\w+)}", lambda name: ids.get(name[1], others.get(name[1], "report.html")), path)
            body = {"json": BODIES.get(operation["operationId"], {})} if "requestBody" in operation else {}
            headers = people.bob | HEADERS.get(operation["operationId"], {})
            if headers.get("Content-Type"):
                body = {"content": b"x"}
            answer = client.request(method, address, headers=headers, **body)
            assert answer.status_code == 404, operation["operationId"]
            assert method == "head" or answer.json()["code"] == "not_found", operation["operationId"]
            asked += 1
    assert asked >= 31
    assert client.get(f"/v1/jobs/{people.job}?wait=1", headers=people.bob).status_code == 404
    assert client.get(f"/v1/jobs/{people.job}", headers=people.alice).json()["status"] == "queued"


def operations(people: People, method: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return every operation on Alice's dataset and model that reads or writes: id, address, and what it is sent."""
    found = []
    ids = {"dataset_id": people.dataset, "model_id": people.model}
    for path, methods in people.service.client.get("/openapi.json").json()["paths"].items():
        if any(name in path for name in ids) and method in methods:
            address = re.sub(r"{(\w+)}", lambda name: ids.get(name[1], "x"), path)
            operation = methods[method]["operationId"]
            body = {"json": BODIES.get(operation, {})} if "requestBody" in methods[method] else {}
            found.append((operation, address, {"headers": people.bob | HEADERS.get(operation, {}), **body}))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["bob", "*"])
def test_what_is_shared_can_be_read_and_used_and_never_changed(people: People, reader: str) -> None:
    client, service = people.service.client, people.service
    things = (("datasets", people.dataset), ("models", people.model))
    before = [client.get(f"/v1/{feature}/{id_}", headers=people.alice).json() for feature, id_ in things]
    for feature, id_ in things:
        answer = client.put(f"/v1/{feature}/{id_}/shares/{reader}", headers=people.alice)
        assert [share["reader"] for share in answer.raise_for_status().json()["data"]] == [reader]

    for feature, id_ in things:
        (row,) = client.get(f"/v1/{feature}", headers=people.bob).json()["data"]
        assert (row["id"], row["shared"], row["owner"]) == (id_, True, None)
        for who, shared, found in (
            (people.bob, True, 1), (people.bob, False, 0), (people.alice, True, 0), (people.alice, False, 1),
        ):  # fmt: skip
            listed = client.get(f"/v1/{feature}", headers=who, params={"shared": shared}).json()["data"]
            assert len(listed) == found, (feature, shared)
        assert client.get(f"/v1/{feature}/{id_[:20]}", headers=people.bob).json()["id"] == id_
        assert not client.get(f"/v1/{feature}/{id_}", headers=people.alice).json()["shared"]
    for operation, address, sent in operations(people, "get"):
        answer = client.get(address, headers=sent["headers"])
        if operation.endswith("_shares"):
            assert answer.status_code == 404, operation
        elif "preview" not in operation and "image" not in operation:  # of which these have none
            assert answer.status_code != 404, operation
        assert '"alice"' not in answer.text, operation
    writes = [(method, *each) for method in ("post", "put", "patch", "delete") for each in operations(people, method)]
    assert len(writes) >= 6
    for method, operation, address, sent in writes:
        assert client.request(method, address, **sent).status_code == 404, operation
    assert [client.get(f"/v1/{feature}/{id_}", headers=people.alice).json() for feature, id_ in things] == before

    spec = TRAIN | {"dataset": people.dataset, "model": {"model": people.model}}
    assert client.post("/v1/jobs/validate", json=spec, headers=people.bob).json()["ok"]
    job = client.post("/v1/jobs", json=spec, headers=people.bob).raise_for_status().json()
    study = STUDY | {"dataset": people.dataset, "teacher": {"model": {"model": people.model}}}
    study_id = client.post("/v1/studies", json=study, headers=people.bob).raise_for_status().json()["id"]
    assert client.get("/v1/usage", headers=people.bob).json()["used"]["datasets"] == 0

    for feature, id_ in things:
        refused = client.delete(f"/v1/{feature}/{id_}", headers=people.alice)
        assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
        assert client.delete(f"/v1/{feature}/{id_}/shares/{reader}", headers=people.alice).status_code == 204
        assert client.get(f"/v1/{feature}", headers=people.bob).json()["data"] == []
        assert client.get(f"/v1/{feature}/{id_}", headers=people.bob).status_code == 404
    assert client.post("/v1/jobs", json=spec, headers=people.bob).json()["code"] == "unknown_reference"
    extended = client.post(f"/v1/studies/{study_id}/extend", json={"seeds": [1]}, headers=people.bob)
    assert extended.json()["code"] == "unknown_reference"
    for path, methods in client.get("/openapi.json").json()["paths"].items():  # what was queued stays, and is shown
        address = path.replace("{job_id}", job["id"]).replace("{study_id}", study_id)
        if "get" in methods and address != path and "{" not in address and "stream" not in path:
            assert client.get(address, headers=people.bob).status_code < 500, path
    assert client.get(f"/v1/jobs/{job['id']}", headers=people.bob).json()["status"] == "queued"
    for again in (f"/v1/jobs/{job['id']}/retry", f"/v1/studies/{study_id}/resume"):
        client.post(f"{again.rpartition('/')[0]}/cancel", headers=people.bob).raise_for_status()
        assert client.post(again, headers=people.bob).json()["code"] in ("not_retryable", "unknown_reference")
        for feature, id_ in things:
            client.put(f"/v1/{feature}/{id_}/shares/{reader}", headers=people.alice).raise_for_status()
        assert client.post(again, headers=people.bob).status_code == 202
        for feature, id_ in things:
            client.delete(f"/v1/{feature}/{id_}/shares/{reader}", headers=people.alice).raise_for_status()
    with service.database.transaction() as session:
        done = {(row.action, row.object) for row in session.scalars(select(Audit).where(Audit.owner == "alice"))}
    assert {("share_dataset", f"{people.dataset}/{reader}"), ("unshare_model", f"{people.model}/{reader}")} <= done


@pytest.mark.slow
def test_a_share_is_for_its_reader_and_goes_with_its_thing(people: People) -> None:
    client, carol = people.service.client, people.service.key("carol")
    address = f"/v1/models/{people.model}/shares"
    client.put(f"{address}/bob", headers=people.alice).raise_for_status()
    client.put(f"{address}/bob", headers=people.alice).raise_for_status()
    assert people.ids("models", carol) == []
    assert client.get(f"/v1/models/{people.model}", headers=carol).status_code == 404
    assert client.put(f"{address}/carol", headers=people.bob).status_code == 404
    assert client.put(f"{address}/a%20b", headers=people.alice).json()["code"] == "invalid"
    assert [row["reader"] for row in client.get(address, headers=people.admin).json()["data"]] == ["bob"]
    with people.service.database.transaction() as session:
        session.add_all(Share(reader=f"reader-{number}", thing_id=people.model) for number in range(99))
    assert client.put(f"{address}/bob", headers=people.alice).status_code == 200
    assert client.put(f"{address}/{people.LONGEST}", headers=people.alice).json()["code"] == "invalid"
    assert client.delete(f"/v1/models/{people.model}", headers=people.alice).status_code == 204
    with people.service.database.transaction() as session:
        assert session.scalars(select(Share)).all() == []


def test_the_audit_log_finds_shares_by_what_is_shared(people: People) -> None:
    client = people.service.client
    client.put(f"/v1/models/{people.model}/shares/{people.LONGEST}", headers=people.alice).raise_for_status()
    entries = client.get("/v1/audit", params={"object": people.model}, headers=people.admin).json()["data"]
    shared, made = f"{people.model}/{people.LONGEST}", people.model
    assert [(each["action"], each["object"]) for each in entries] == [("share_model", shared), ("create_model", made)]


def test_a_share_that_meets_a_deletion_leaves_nothing(people: People) -> None:
    service, client = people.service, people.service.client
    with ThreadPoolExecutor(1) as pool:
        with service.database.transaction() as session:
            bind(session, Caller("key_1", "alice", Scope.SUBMIT))
            shares.share(session, Model, people.model, "bob")
            deletion = pool.submit(client.delete, f"/v1/models/{people.model}", headers=people.alice)
            wait([deletion], timeout=0.5)
        assert deletion.result(60).status_code == 204
    with service.database.transaction() as session:
        assert session.scalars(select(Share)).all() == []


def test_a_reader_does_not_learn_where_an_import_comes_from(people: People) -> None:
    client = people.service.client
    client.put(f"/v1/datasets/{people.dataset}/shares/bob", headers=people.alice).raise_for_status()
    failed = {"source": "folder:secret", "sha256": None, "key": None, "status": "invalid"}
    with people.service.database.transaction() as session:
        problems = [{"where": "folder:secret", "detail": "the disk of secret is full"}]
        session.execute(update(Dataset).values(**failed, problems=problems))
    assert "secret" in client.get(f"/v1/datasets/{people.dataset}", headers=people.alice).text
    shown = client.get(f"/v1/datasets/{people.dataset}", headers=people.bob)
    assert "secret" not in shown.text
    assert len(shown.json()["problems"]) == 1


def test_statements_that_write_never_reach_what_is_shared(people: People) -> None:
    people.service.client.put(f"/v1/datasets/{people.dataset}/shares/*", headers=people.alice).raise_for_status()
    with people.service.database.transaction() as session:
        bind(session, Caller("key_1", "bob", Scope.SUBMIT), with_shared=True)
        assert session.get(Dataset, people.dataset) is not None
        assert session.scalars(select(Job.id)).all() == []
        session.execute(update(Dataset).values(name="taken"))
        session.execute(delete(Dataset))
    with people.service.database.transaction() as session:
        assert session.get_one(Dataset, people.dataset).name is None
    for write in (lambda row, _: setattr(row, "name", "taken"), lambda row, session: session.delete(row)):
        with people.service.database.transaction() as session:
            bind(session, Caller("key_1", "bob", Scope.SUBMIT), with_shared=True)
            write(session.get_one(Dataset, people.dataset), session)
            with pytest.raises(NotOwner):
                session.flush()
            session.rollback()


def test_a_list_looks_shares_up_by_an_index(people: People) -> None:
    if people.service.database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a table of a few rows whole; its index is the same")
    with people.service.database.transaction() as session:
        owner = people.service.database
        bind(session, Caller("key_1", "bob", Scope.READ), with_shared=True)
        plans: list[str] = []

        def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT") and "FROM dataset" in statement:
                rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                plans.extend(str(row[3]) for row in rows)

        event.listen(owner.engine, "before_cursor_execute", explain)
        datasets.newest(session, 20, None)
        event.remove(owner.engine, "before_cursor_execute", explain)
    assert any(plan.startswith("SEARCH share USING") for plan in plans), plans
    assert not any(plan.startswith("SCAN share") for plan in plans), plans


@pytest.mark.slow
def test_references_to_anothers_things_lead_nowhere(people: People) -> None:
    def refusal(**changes: Any) -> tuple[str, list[str]]:
        spec = TRAIN | {"dataset": people.dataset} | changes
        problem = people.service.client.post("/v1/jobs", json=spec, headers=people.bob).json()
        return problem["code"], [error["pointer"] for error in problem["errors"]]

    assert refusal() == ("unknown_reference", ["/dataset"])
    assert refusal(model={"model": people.model})[1] == ["/dataset", "/model/model"]
    assert refusal(model={"job": people.job})[1] == ["/dataset", "/model/job"]
    study = people.service.client.post("/v1/studies", json=STUDY | {"dataset": people.dataset}, headers=people.bob)
    assert (study.status_code, study.json()["code"]) == (422, "unknown_reference")


def test_what_an_admin_starts_of_a_study_stays_its_owners(people: People) -> None:
    client = people.service.client
    client.post(f"/v1/studies/{people.study}/cancel", headers=people.admin).raise_for_status()
    client.post(f"/v1/studies/{people.study}/resume", headers=people.admin).raise_for_status()
    client.post(f"/v1/studies/{people.study}/extend", json={"seeds": [1]}, headers=people.admin).raise_for_status()

    with people.service.database.transaction() as session:
        assert set(session.scalars(select(Job.owner))) == {"alice"}
        assert session.scalar(select(func.count()).select_from(Job)) == 6


def test_what_the_operator_makes_is_nobody_elses(start: Start) -> None:
    with start(token="t") as service:
        service.client.headers["Authorization"] = "Bearer t"
        job = service.job()
        alice = service.key("alice")

        assert service.client.get(f"/v1/jobs/{job}").json()["owner"] is None
        assert service.client.get(f"/v1/jobs/{job}", headers=alice).status_code == 404
        assert service.client.get(f"/v1/jobs/{job}", headers=service.key("ops", "admin")).status_code == 200


def test_a_queue_is_counted_across_owners(people: People) -> None:
    service = people.service
    files = {"file": ("b.zip", b"PK\x05\x06" + bytes(18))}
    dataset = service.client.post("/v1/datasets", files=files, headers=people.bob).json()["id"]
    service.settle()

    mine = service.client.post("/v1/jobs", json=TRAIN | {"dataset": dataset}, headers=people.bob).json()

    assert mine["waiting_for"][0]["detail"].endswith("; 3 jobs are before it")  # Alice's


def test_every_kind_of_statement_is_narrowed(people: People) -> None:
    with people.service.database.transaction() as session:
        bind(session, Caller("key_1", "bob", Scope.SUBMIT))
        assert session.get(Dataset, people.dataset) is None
        assert session.scalar(select(func.count()).select_from(Job)) == 0
        assert session.scalar(select(func.count()).select_from(Job), execution_options=EVERYBODYS) > 0
        assert session.scalars(select(Dataset.id).where(select(Job.id).exists())).all() == []
        session.execute(update(Job).values(status=Status.FAILED))
        session.execute(delete(Dataset))
    with people.service.database.transaction() as session:
        bind(session, Caller("key_2", "alice", Scope.READ))
        assert session.get(Dataset, people.dataset) is not None
        assert set(session.scalars(select(Job.status))) == {Status.QUEUED}


def test_a_postgres_of_many_owners_gives_each_their_own(postgres: Postgres, start: Start) -> None:
    with postgres.migrated() as url, start(database_url=url, migrate_on_start=False) as service:
        keys = {name: service.key(name) for name in ("a", "b", "c")}
        for name, headers in keys.items():
            files = {"file": (f"{name}.zip", b"PK\x05\x06" + bytes(18))}
            service.client.post("/v1/datasets", files=files, headers=headers).raise_for_status()
        for name, headers in keys.items():
            shown = service.client.get("/v1/datasets", headers=headers).json()["data"]
            assert [row["filename"] for row in shown] == [f"{name}.zip"]
