"""What a stranger stumbled over: lost forms, raw ids, silent refusals, dead ends."""

import re

import pytest
from sqlalchemy import update

from api.console.verdicts import t975, verdict
from api.tables.jobs import Job
from api.tables.states import Status
from tests.api.conftest import Service
from tests.api.console.conftest import Reader, reader_of
from tests.api.console.test_collections import STUDY

BROWSER = {"accept": "text/html,application/xhtml+xml"}


def test_a_form_whose_reader_has_signed_out_says_so(closed: Service) -> None:
    reader = reader_of(closed, owner="alice", scope="submit")
    old = reader.csrf()
    reader.post("/sign-out")
    asked = {"hx-request": "true", "referer": "http://testserver/jobs/new?kind=train"}
    checked = closed.client.post("/jobs/new/check", data={"csrf": old}, headers=asked)
    assert checked.status_code == 200
    assert "You are signed out" in checked.text
    closed.client.headers.pop("Authorization")
    sent = closed.client.post("/jobs/new", data={"csrf": old}, headers={"referer": asked["referer"]})
    assert (sent.status_code, sent.headers["location"]) == (303, "/sign-in?next=%2Fjobs%2Fnew%3Fkind%3Dtrain")
    assert "Sign in to see the page that you asked for." in reader.get("/sign-in?next=%2Fjobs")


def test_a_stale_form_of_a_reader_who_is_signed_in_changes_nothing(closed: Service) -> None:
    reader = reader_of(closed, owner="alice", scope="submit")
    refused = reader.post("/jobs/new", csrf="other", kind="train")
    assert refused.status_code == 403
    assert "nothing was done" in refused.text


def test_an_unknown_address_is_a_page_for_browsers_and_a_problem_for_programs(open_service: Service) -> None:
    reader = Reader(open_service.client)
    assert "There is no page at /nothing." in reader.get("/nothing", 404, **BROWSER)
    assert open_service.client.get("/nothing").json()["code"] == "not_found"
    assert open_service.client.get("/v1/nothing", headers=BROWSER).json()["code"] == "not_found"


def test_a_job_is_named_wherever_another_waits_for_it(service: Service) -> None:
    reader, dataset = Reader(service.client), service.dataset()
    recipe = {"epochs": 25, "imgsz": 320, "seed": 3}
    train = {"kind": "train", "model": {"architecture": "yolov8n"}, "train": recipe}
    teacher = service.submit(dataset, **train, name="a <teacher>")["id"]
    student = {"teacher": {"job": teacher}, "student": {"architecture": "yolov8n-half"}}
    student |= {"distillation": {"preset": "rdr-kd"}, "train": {}}
    student |= {"kind": "distill", "dataset": dataset}
    waiting = service.client.post("/v1/jobs", json=student).raise_for_status().json()["id"]
    link = f'a &lt;teacher&gt; (<a href="/jobs/{teacher}">job_…{teacher[-6:]}</a>), which is queued'
    for path in ("/", "/jobs", f"/jobs/{waiting}"):
        assert link in reader.get(path)
    shown = reader.get(f"/jobs/{waiting}")
    assert f'<a href="/jobs/{teacher}">a &lt;teacher&gt;</a>' in re.sub(r">\s+|\s+<", lambda m: m[0].strip(), shown)
    assert "the student alone is not trained" in shown
    assert "train yolov8n, 25 epochs at 320 px" in reader.get("/jobs")


def test_the_form_of_a_student_takes_the_settings_of_its_teacher(service: Service) -> None:
    reader = Reader(service.client)
    recipe = {"epochs": 25, "imgsz": 320, "seed": 3}
    teacher = service.submit(service.dataset(), kind="train", model={"architecture": "yolov8n"}, train=recipe)["id"]
    shown = reader.get(f"/jobs/new?teacher=job%3A{teacher}")
    values = dict(re.findall(r'name="train\.(\w+)"[^>]* value="([^"]*)"', shown))
    assert (values["epochs"], values["imgsz"], values["seed"]) == ("25", "320", "")
    assert "Training settings are those of the teacher" in shown
    cloned = reader.get(f"/jobs/new?from={teacher}")
    assert "The settings are those of" in cloned
    # Settings that the URL names win: the demo's recipe.
    given = reader.get(f"/jobs/new?teacher=job%3A{teacher}&train.epochs=12")
    assert re.search(r'name="train.epochs"[^>]* value="12"', given)
    assert not re.search(r'name="train.imgsz"[^>]* value="320"', given)


def test_a_running_job_is_cancelled_after_a_question(service: Service) -> None:
    reader = Reader(service.client)
    running, queued = service.job(Status.RUNNING), service.job()
    assert "jobs that wait for its weights fail" in reader.get(f"/jobs/{running}")
    assert "<button>Cancel</button>" in reader.get(f"/jobs/{queued}")


def test_errors_are_told_once_and_by_field(open_service: Service) -> None:
    reader = Reader(open_service.client)
    refused = reader.post("/jobs/new", kind="train", student="architecture:yolov8n", **{"train.epochs": "-5"})
    (said,) = re.findall(r'role="alert">(.*?)</div>', refused.text, re.DOTALL)
    assert said.count("greater than or equal to 1") == 1
    assert "<li>epochs: " in said
    assert "data-refused" in refused.text


@pytest.mark.parametrize("path", ["/jobs", "/compare"])
def test_a_part_of_a_name_leads_to_the_names_that_contain_it(service: Service, path: str) -> None:
    reader = Reader(service.client)
    service.job(name="student <1>")
    service.job(name="other")
    shown = reader.get(f"{path}?name=stud")
    assert "No job has exactly this name." in re.sub(r"\s+", " ", shown)
    assert re.findall(rf'href="{path}\?name=([^"]+)"', shown) == ["student%20%3C1%3E"]
    assert "No job that matches the other filters has exactly" in re.sub(
        r"\s+", " ", reader.get(f"{path}?name=stud&status=failed&label=a%3Db")
    )
    assert '<option value="student &lt;1&gt;">' in reader.get(path)


def test_a_refused_key_and_webhook_return_the_form_with_what_was_typed(closed: Service) -> None:
    reader = reader_of(closed, owner="ops", scope="admin")
    key = reader.post("/administration/keys", name="n <b>", owner="no such", scope="read", expires="2001-01-01")
    assert key.status_code == 422
    for kept in ('value="n &lt;b&gt;"', 'value="no such"', "<option selected>read</option>", 'value="2001-01-01"'):
        assert kept in key.text
    (said,) = re.findall(r'role="alert">(.*?)</div>', key.text, re.DOTALL)
    assert "<li>owner: " in said
    assert "<code>_</code>" in said
    assert "`" not in said
    past = reader.post("/administration/keys", name="n", owner="ops", scope="read", expires="2001-01-01").text
    assert "<li>expires_at: expected a time in the future" in past
    hook = reader.post("/webhooks", url="ftp://<b>", name="mine")
    assert hook.status_code == 422
    assert 'value="ftp://&lt;b&gt;"' in hook.text
    assert hook.text.count("<li>url: ") == 1


def test_a_problem_is_told_once_and_by_field(open_service: Service) -> None:
    reader, client = Reader(open_service.client), open_service.client
    made = client.post("/v1/models", files={"file": ("a.pt", b"PK\x05\x06" + bytes(18))}, data={"name": "named"})
    shown = reader.post(f"/models/{made.raise_for_status().json()['id']}/alias", alias="`<img src=x>`")
    assert shown.status_code == 422
    assert "<img" not in shown.text
    (said,) = re.findall(r"<ul>(.*?)</ul>", shown.text, re.DOTALL)
    assert "<code>&lt;img src=x&gt;</code>" in said
    listed = reader.get("/jobs?status=nothing", 422)
    assert listed.count("nothing") == 1
    assert listed.count("<li>status: ") == 1


def test_a_missing_object_is_named(open_service: Service) -> None:
    reader = Reader(open_service.client)
    assert "There is no job <code>job_123</code>." in reader.get("/jobs/job_123", 404)
    assert "There is no study <code>&lt;b&gt;</code>." in reader.get("/studies/<b>", 404)
    assert "There is no such job." in reader.get("/compare?job=job_123", 404)


def test_the_first_key_keeps_its_maker_signed_in(service: Service) -> None:
    reader = Reader(service.client)
    assert reader.post("/administration/keys", name="mine", owner="ops", scope="admin").status_code == 303
    shown = reader.get("/administration")
    assert "you are now signed in with it" in shown
    assert "you signed in with it" in shown


def test_keys_of_one_name_can_be_told_apart_and_the_own_is_marked(closed: Service) -> None:
    reader = reader_of(closed, owner="ops", scope="admin")
    twins = [closed.key(owner="bob") for _ in range(2)]
    shown = reader.get("/administration")
    for twin in twins:
        last = twin["Authorization"].split("_")[1][-6:]
        assert f"key_…{last}</code>" in shown
        assert f"key_…{last}, is locked out" in shown
    assert shown.count("you signed in with it</span>") == 1
    assert shown.count("This is the key you signed in with: you are locked out") == 1


def test_the_audit_log_shortens_ids_and_keeps_them_at_hand(closed: Service) -> None:
    closed.client.headers.update(closed.key(owner="carol"))
    job = closed.job()
    shown = reader_of(closed, owner="ops", scope="admin").get(f"/audit?object={job}")
    (row,) = re.findall(r"<tr><td class.*?</tr>", shown)
    assert f'title="{job}"><a href="/jobs/{job}">job_…{job[-6:]}</a>' in row
    assert re.search(r'title="req_[0-9a-f]{32}">req_…[0-9a-f]{6}<', row)
    assert re.search(r'href="/audit\?key=key_[0-9a-f]{32}">key_…[0-9a-f]{6}<', row)


def test_a_study_says_whether_a_method_is_better(service: Service) -> None:
    study = STUDY | {"dataset": service.dataset(), "methods": ["none", "rdr-kd", "mgd"], "seeds": [0, 1, 2]}
    made = service.client.post("/v1/studies", json=study).raise_for_status().json()
    figures = {"none": [10.0, 11.0, 12.0], "rdr-kd": [12.0, 13.1, 13.9], "mgd": [10.5, None, None]}
    with service.database.transaction() as session:
        for member in made["members"]:
            result = {"metrics": {"coco": {"AP": figures[member["method"]][member["seed"]]}}}
            session.execute(update(Job).where(Job.id == member["job"]).values(result=result, status="succeeded"))
    report = service.client.post(f"/v1/studies/{made['id']}/report").raise_for_status().json()["id"]
    with service.database.transaction() as session:
        session.execute(update(Job).where(Job.id == report).values(status="succeeded", result={}))
    shown = Reader(service.client).get(f"/studies/{made['id']}")
    for said in (
        "<strong>rdr-kd</strong>: AP +2.00 points [+1.75, +2.25] over 3 seeds: better than the student alone.",
        "<strong>mgd</strong>: AP +0.50 points with 1 seed: one seed proves nothing.",
    ):
        assert said in shown
    assert "<strong>none</strong>" not in shown
    assert f'<a href="/datasets/{study["dataset"]}">data.zip</a>' in shown
    assert 'report?disposition=inline" target="_blank" rel="noopener"' in shown
    assert "of 9 jobs" in shown


def test_the_intervals_of_the_page_are_those_of_the_report() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in range(1, 200):
        assert t975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-4)
    assert "worse than the student alone" in verdict([(8.0, 10.0), (7.9, 10.0), (8.1, 10.0)])
    assert "no difference shown yet" in verdict([(8.0, 10.0), (12.1, 10.0), (10.1, 10.0)])
    assert "the same with every seed" in verdict([(12.0, 10.0), (12.0, 10.0)])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/sign-in", "python -m api keys create NAME --owner OWNER"),
        ("/administration", "New jobs and uploads are refused below</dt>"),
        ("/studies/new", "the RDR-KD paper&#39;s Table II,"),
        ("/compare", "Labels are set in the spec of a job"),
    ],
)
def test_words_that_left_the_reader_guessing(open_service: Service, path: str, said: str) -> None:
    assert said in Reader(open_service.client).get(path)
