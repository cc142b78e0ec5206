"""Studies over HTTP: what they queue, show, add, stop and take up again."""

from typing import Any

import pytest
from sqlalchemy import event

from api.jobs.claims import Held
from api.jobs.lifecycle import Ending
from api.studies import service as studies
from api.tables.states import Status
from tests.api.conftest import NOBODY, Service

METRICS = {"AP": 12.5, "AP50": 30.0, "AP75": 8.0, "AP_S": 5.0, "AP_M": 20.0, "AP_L": None}
OFF = {"name": "off", "distillation": {"preset": "decoupled", "schedule": {"stop_epochs": 2}}}  # of two epochs
TRAINED = {"model": {"architecture": "yolov8l"}, "train": {"epochs": 3}}


def spec(dataset: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny", "dataset": dataset, "teacher": TRAINED, "student": {"architecture": "yolov8n"},
        "methods": ["none", "rdr-kd"], "seeds": [0, 1], "train": {"epochs": 2}, **changes,
    }  # fmt: skip


def post(service: Service, **changes: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/studies", json=spec(service.dataset(), **changes))
    assert answer.status_code == 202, answer.text
    return answer.json()


def get(service: Service, study: dict[str, Any]) -> dict[str, Any]:
    return service.client.get(study["links"]["self"]).raise_for_status().json()


def job(service: Service, job_id: str) -> dict[str, Any]:
    return service.client.get(f"/v1/jobs/{job_id}").raise_for_status().json()


def succeed(service: Service, held: Held, tmp_path: Any, ap: float = 12.5) -> None:
    service.publish(held, 1, b"weights of " + held.id.encode(), tmp_path)
    result = {"metrics": {"coco": {**METRICS, "AP": ap}}}
    service.finish(held, Ending(Status.SUCCEEDED, result=result))


def reap(service: Service) -> list[str]:
    with service.database.transaction() as session:
        return studies.draw_finished(session)


def test_a_study_becomes_jobs_teacher_first(each_service: Service) -> None:
    study = post(each_service)
    assert study["status"] == "queued"
    assert study["jobs"] == {"queued": 5}
    assert [(m["method"], m["seed"]) for m in study["members"]] == [
        ("none", 0), ("rdr-kd", 0), ("none", 1), ("rdr-kd", 1)
    ]  # fmt: skip
    teacher = job(each_service, study["teacher"]["job"])
    assert (teacher["kind"], teacher["spec"]["model"]) == ("train", {"architecture": "yolov8l"})
    alone, distilled = (job(each_service, member["job"]) for member in study["members"][:2])
    assert alone["kind"] == "train"
    assert alone["waiting_for"][0]["what"] == "worker"  # it needs no teacher
    assert distilled["spec"]["teacher"] == {"job": study["teacher"]["job"]}
    assert distilled["spec"]["distillation"] == {"preset": "rdr-kd"}
    assert distilled["waiting_for"][0]["id"] == study["teacher"]["job"]
    assert job(each_service, study["members"][3]["job"])["spec"]["train"]["seed"] == 1
    assert get(each_service, study) == study
    listed = each_service.client.get("/v1/studies").json()["data"]
    assert [row["id"] for row in listed] == [study["id"]]
    assert "members" not in listed[0]


def test_a_list_takes_as_many_queries_for_many_studies_as_for_one(each_service: Service, tmp_path: Any) -> None:
    statements: list[str] = []
    engine = each_service.app.state.database.engine

    def listed() -> list[dict[str, Any]]:
        statements.clear()
        return each_service.client.get("/v1/studies").raise_for_status().json()["data"]

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    post(each_service)
    event.listen(engine, "before_cursor_execute", note)
    try:
        listed()
        for_one = len(statements)
        for methods in (["none"], ["none", "rdr-kd"], ["rdr-kd"]):
            post(each_service, methods=methods)
        succeed(each_service, each_service.claim(), tmp_path)
        rows = listed()
        assert len(rows) == 4
        assert len(statements) == for_one > 0
    finally:
        event.remove(engine, "before_cursor_execute", note)
    for row in rows:
        whole = each_service.client.get(row["links"]["self"]).json()
        assert row == {name: whole[name] for name in row}
    assert sorted(row["jobs"].get("succeeded", 0) for row in rows) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"dataset": "scenes.zip"}, "path_not_allowed", "/dataset"),
        ({"dataset": NOBODY["dataset"]}, "unknown_reference", "/dataset"),
        ({"student": {"path": "s.pt"}}, "path_not_allowed", "/student/path"),
        ({"teacher": {"model": {"path": "t.pt"}}}, "path_not_allowed", "/teacher/model/path"),
        ({"teacher": {"model": {"model": NOBODY["model"]}}}, "unknown_reference", "/teacher/model/model"),
        ({"teacher": {"model": {"architecture": "yolov8l"}}}, "invalid", "/teacher"),
        ({"seeds": [0, 1, 0]}, "invalid", "/seeds/2"),
        ({"seeds": [True]}, "invalid", "/seeds/0"),
        ({"train": {"seed": 1}}, "invalid", "/train/seed"),
        ({"methods": ["none", "no-such"]}, "invalid", "/methods/1"),
        ({"seeds": []}, "invalid", "/seeds"),
        ({"methods": ["table2"], "seeds": list(range(100)), "train": {"epochs": 0}}, "invalid", "/train/epochs"),
        ({"surprise": 1}, "invalid", "/surprise"),
        ({"methods": ["none", OFF]}, "invalid", "/methods/1/distillation/schedule/stop_epochs"),
    ],
)
def test_what_makes_no_study_is_refused_by_field_and_leaves_nothing(
    service: Service, changes: dict[str, Any], code: str, pointer: str
) -> None:
    answer = service.client.post("/v1/studies", json={**spec(service.dataset()), **changes})
    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert service.client.get("/v1/studies").json()["data"] == []
    assert service.client.get("/v1/jobs").json()["data"] == []


def test_a_study_is_not_extended_by_a_method_that_would_never_be_on(each_service: Service) -> None:
    study = post(each_service, methods=["none"])
    answer = each_service.client.post(f"{study['links']['self']}/extend", json={"methods": [OFF]})
    assert answer.status_code == 422
    assert "expected stop_epochs below the 2 epochs of train, got 2" in answer.json()["detail"]
    assert get(each_service, study) == study


def test_a_study_has_a_largest_size(service: Service) -> None:
    mine = [{"name": f"m{n}", "distillation": {"preset": "decoupled"}} for n in range(11)]
    answer = service.client.post("/v1/studies", json=spec(service.dataset(), methods=mine, seeds=list(range(100))))
    assert answer.status_code == 422
    assert "at most 1000 members, got 1100" in answer.json()["detail"]


@pytest.mark.slow
def test_progress_and_figures_of_the_members_are_shown(each_service: Service, tmp_path: Any) -> None:
    study = post(each_service, teacher={"model": {"job": each_service.job()}}, methods=["none"])
    each_service.claim()  # the other job
    first = each_service.claim()
    each_service.progress(first, completed=1, total=4, epoch=1, epochs=2, eta_seconds=7.0)
    seen = get(each_service, study)
    assert (seen["status"], seen["jobs"], seen["eta_seconds"]) == ("running", {"running": 1, "queued": 1}, None)
    assert (seen["members"][0]["status"], seen["members"][0]["epoch"], seen["members"][0]["AP"]) == ("running", 1, None)
    succeed(each_service, first, tmp_path)
    seen = get(each_service, study)
    assert seen["members"][0]["AP"] == 12.5
    assert seen["eta_seconds"] is not None
    succeed(each_service, each_service.claim(), tmp_path)
    seen = get(each_service, study)
    assert (seen["status"], seen["eta_seconds"], seen["teacher"]) == ("succeeded", None, None)


def test_a_member_that_fails_sinks_no_other(each_service: Service, tmp_path: Any) -> None:
    study = post(each_service, methods=["none"])
    succeed(each_service, each_service.claim(), tmp_path)  # the teacher
    each_service.end(each_service.claim(), Status.FAILED)
    assert get(each_service, study)["status"] == "running"
    succeed(each_service, each_service.claim(), tmp_path)
    seen = get(each_service, study)
    assert seen["status"] == "failed"
    assert [member["status"] for member in seen["members"]] == ["failed", "succeeded"]


def test_a_study_is_extended_by_what_it_does_not_have(each_service: Service) -> None:
    study = post(each_service)
    mine = {"name": "mine", "distillation": {"losses": [{"name": "decoupled"}]}}
    more = each_service.client.post(study["links"]["extend"], json={"methods": ["rdr-kd", mine], "seeds": [1, 2]})
    assert more.status_code == 202, more.text
    members = {(m["method"], m["seed"]): m["job"] for m in more.json()["members"]}
    assert set(members) == {(method, seed) for method in ("none", "rdr-kd", "mine") for seed in (0, 1, 2)}
    assert all(members[member["method"], member["seed"]] == member["job"] for member in study["members"])
    assert more.json()["spec"]["seeds"] == [0, 1, 2]
    again = each_service.client.post(study["links"]["extend"], json={"methods": [mine]}).json()
    assert again["members"] == more.json()["members"]
    other = {"name": "mine", "distillation": {"losses": [{"name": "ld"}]}}
    refused = each_service.client.post(study["links"]["extend"], json={"methods": [other]})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert get(each_service, study)["members"] == more.json()["members"]


def test_a_method_that_the_study_was_posted_with_is_left_alone(service: Service) -> None:
    mine = {"name": "mine", "distillation": {"losses": [{"name": "decoupled"}]}}
    study = post(service, methods=["none", mine])
    more = service.client.post(study["links"]["extend"], json={"methods": [mine], "seeds": [2]})
    assert more.status_code == 202, more.text
    assert {(m["method"], m["seed"]) for m in more.json()["members"]} == {
        (method, seed) for method in ("none", "mine") for seed in (0, 1, 2)
    }


def test_a_cancelled_study_is_taken_up_again_where_it_stopped(each_service: Service, tmp_path: Any) -> None:
    study = post(each_service)
    succeed(each_service, each_service.claim(), tmp_path)
    held = each_service.claim()
    each_service.publish(held, 1, b"state", tmp_path, "state.pt")
    stopped = each_service.client.post(study["links"]["cancel"])
    assert stopped.status_code == 202
    assert stopped.json()["jobs"] == {"succeeded": 1, "cancelling": 1, "cancelled": 3}
    each_service.end(held, Status.CANCELLED)
    assert get(each_service, study)["status"] == "cancelled"
    resumed = each_service.client.post(study["links"]["resume"])
    assert resumed.status_code == 202, resumed.text
    assert resumed.json()["jobs"] == {"succeeded": 1, "queued": 4}
    assert resumed.json()["teacher"] == get(each_service, study)["teacher"]
    before = {(m["method"], m["seed"]): m["job"] for m in study["members"]}
    for member in resumed.json()["members"]:
        successor = job(each_service, member["job"])
        assert successor["continues"] == before[member["method"], member["seed"]]
    claimed = each_service.claim()
    assert claimed.continues == held.id
    again = each_service.client.post(study["links"]["resume"])
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_resume")


def test_a_teacher_that_failed_takes_its_members_along_and_all_are_taken_up_again(each_service: Service) -> None:
    study = post(each_service, methods=["rdr-kd"])
    each_service.end(each_service.claim(), Status.FAILED)
    resumed = each_service.client.post(study["links"]["resume"]).json()
    assert resumed["jobs"] == {"queued": 3}
    assert resumed["teacher"]["job"] != study["teacher"]["job"]
    for member in resumed["members"]:
        assert job(each_service, member["job"])["spec"]["teacher"] == {"job": resumed["teacher"]["job"]}


def test_a_report_is_queued_once_at_the_end_and_on_request_before(each_service: Service, tmp_path: Any) -> None:
    study = post(each_service, methods=["none"])
    report = study["links"]["report"]
    assert each_service.client.post(report).json()["code"] == "not_ready"
    assert each_service.client.get(report).json()["code"] == "not_ready"
    succeed(each_service, each_service.claim(), tmp_path)
    succeed(each_service, each_service.claim(), tmp_path)
    assert reap(each_service) == []
    asked = each_service.client.post(report)
    assert asked.status_code == 202, asked.text
    assert asked.json()["kind"] == "compare"
    assert each_service.client.post(report).json()["id"] == asked.json()["id"]
    drawing = each_service.claim()
    assert drawing.id == asked.json()["id"]  # before the members that wait
    each_service.publish(drawing, 0, b"# Study", tmp_path, "report.md")
    each_service.finish(drawing, Ending(Status.SUCCEEDED, result={}))
    assert get(each_service, study)["report"] == {"job": drawing.id, "members": 1, "current": True}
    got = each_service.client.get(report, params={"format": "markdown"})
    assert (got.status_code, got.text) == (200, "# Study")
    succeed(each_service, each_service.claim(), tmp_path)
    assert get(each_service, study)["report"]["current"] is False
    (last,) = reap(each_service)
    assert reap(each_service) == []
    held = each_service.claim()
    assert held.id == last
    each_service.end(held, Status.FAILED)
    assert reap(each_service) == []  # it would fail again
    assert each_service.client.post(report).json()["id"] != last
    listed = each_service.client.get("/v1/jobs").json()["data"]
    assert {row["kind"] for row in listed} == {"train"}
    assert len(each_service.client.get("/v1/jobs", params={"kind": "compare"}).json()["data"]) == 3


def trained(service: Service, held: Held, tmp_path: Any, epochs: int, seconds: float) -> None:
    """Let a job succeed that took so many processor seconds an epoch."""
    for number in range(1, epochs + 1):
        service.epoch(held, number, seconds=1.0, processor_seconds=seconds)
    succeed(service, held, tmp_path)


def members(service: Service, study: dict[str, Any], method: str) -> list[dict[str, Any]]:
    return [member for member in get(service, study)["members"] if member["method"] == method]


@pytest.mark.slow
def test_the_student_alone_is_trained_for_as_long_as_a_method_took(each_service: Service, tmp_path: Any) -> None:
    teacher = {"model": {"job": each_service.job()}}
    succeed(each_service, each_service.claim(), tmp_path)
    study = post(each_service, teacher=teacher, methods=["none", "controls", "decoupled"], seeds=[0], decide={})
    names = [member["method"] for member in study["members"]]
    assert names == ["none", "none@lr-half", "none@lr-double", "none@p2", "none@imgsz", "decoupled"]
    own = {name: job(each_service, study["members"][place]["job"])["spec"] for place, name in enumerate(names)}
    assert own["none@lr-half"]["train"]["lr0"] == 0.005
    assert own["none@p2"]["model"] == {"architecture": "yolov8n-p2"}
    waiting = {member["job"]: member["method"] for member in study["members"]}
    while any(row["status"] == "queued" for row in get(each_service, study)["members"]):
        held = each_service.claim()
        assert reap(each_service) == [], "a member goes on"
        trained(each_service, held, tmp_path, 2, 5.0 if waiting[held.id] == "decoupled" else 2.0)
    (longer,) = reap(each_service)
    assert [member["job"] for member in members(each_service, study, "none@time")] == [longer]
    train = job(each_service, longer)["spec"]["train"]
    assert (train["epochs"], train["warmup_epochs"], train["close_mosaic"]) == (5, 7.5, 25)
    assert reap(each_service) == []
    held = each_service.claim()
    each_service.end(held, Status.FAILED)
    again = each_service.client.post(study["links"]["resume"])
    assert again.status_code == 202, again.text
    held = each_service.claim()
    assert job(each_service, held.id)["spec"]["train"]["epochs"] == 5, "it keeps its length"
    trained(each_service, held, tmp_path, 5, 2.0)
    (drawing,) = reap(each_service)
    assert job(each_service, drawing)["kind"] == "compare"


@pytest.mark.parametrize("action", ["cancel", "resume", "report"])
def test_of_no_study_nothing_can_be_asked(service: Service, action: str) -> None:
    answer = service.client.post(f"/v1/studies/{NOBODY['job'].replace('job', 'stu')}/{action}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_nobody_posts_a_report_as_a_job(service: Service) -> None:
    body = {"kind": "compare", "dataset": service.dataset(), "study": "stu_" + "0" * 32, "jobs": []}
    answer = service.client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/kind")
