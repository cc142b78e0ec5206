"""What pages say, how little a poll costs, and that nothing of a stranger's is taken for markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from api.console import curves
from api.console.render import ENVIRONMENT
from api.jobs import lifecycle
from api.jobs.lifecycle import Ending
from api.tables.states import Status
from rdrkd.reasons import Reason
from tests.api.conftest import Service
from tests.api.console.conftest import Reader
from tests.api.console.predicted import HOSTILE

TEMPLATES = Path(curves.__file__).parent / "templates"


def tags(page: str) -> list[tuple[str, dict[str, str]]]:
    """Return every element of a page with its attributes, as a browser reads them."""
    found = []

    class Reading(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, {name: value or "" for name, value in attrs}))

    Reading().feed(page)
    return found


@pytest.mark.parametrize("status", list(Status))
def test_a_job_of_every_status_has_its_page(open_service: Service, status: Status) -> None:
    service = open_service
    job = service.job(status, name="night flight")
    shown = Reader(service.client).get(f"/jobs/{job}")
    assert "night flight" in shown
    assert f">{status}</span>" in shown


def test_a_failure_says_why_on_every_page(open_service: Service) -> None:
    service = open_service
    job = service.job()
    service.finish(service.bring(job, Status.RUNNING), Ending(Status.FAILED, Reason.OOM_CUDA, "the batch did not fit"))
    reader = Reader(service.client)
    for path in ("/", "/jobs", f"/jobs/{job}"):
        assert "Failed: the batch did not fit." in reader.get(path)


def test_what_strangers_name_stays_text(open_service: Service, tmp_path: Path) -> None:
    service = open_service
    dataset = service.dataset()
    job = service.submit(dataset, name=HOSTILE, labels={"site": HOSTILE})["id"]
    held = service.bring(job, Status.RUNNING)
    service.warn(held, "dataset", HOSTILE)
    service.finish(
        held, Ending(Status.FAILED, Reason.INTERNAL, HOSTILE, problems=[{"where": HOSTILE, "detail": HOSTILE}])
    )
    reader = Reader(service.client)
    for path in ("/", "/jobs", f"/jobs?name={HOSTILE}&status=failed", f"/jobs/{job}"):
        shown = reader.get(path)
        assert "&lt;script&gt;alert(1)" in shown
        assert "<script>alert" not in shown
        assert "<img" not in shown


def test_a_poll_of_what_has_not_changed_is_a_304(open_service: Service) -> None:
    service = open_service
    job = service.job(Status.RUNNING)
    first = service.client.get(f"/jobs/{job}")
    tag = first.headers["hx-ptag"]
    again = service.client.get(f"/jobs/{job}", headers={"HX-PTag": tag})
    assert (again.status_code, again.content, again.headers["hx-ptag"]) == (304, b"", tag)
    service.client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    assert service.client.get(f"/jobs/{job}", headers={"HX-PTag": tag}).status_code == 200


def test_every_page_has_a_strict_policy_and_no_script_in_it(open_service: Service) -> None:
    service = open_service
    job = service.job()
    for path in ("/", "/jobs", f"/jobs/{job}", "/sign-in", "/jobs/job_0"):
        answer = service.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        for tag, attributes in tags(answer.text):
            assert tag != "script" or attributes["src"].startswith("/static/")
            assert not [name for name in attributes if name.startswith(("on", "hx-on", "hx-vals", "style"))]
            assert not re.match(r"(https?:)?//|javascript:", attributes.get("src") or attributes.get("href") or "")


def test_everything_that_pages_load_is_there(open_service: Service) -> None:
    service = open_service
    job = service.job()
    pages = "".join(service.client.get(path).text for path in ("/", f"/jobs/{job}"))
    for target in set(re.findall(r'(?:src|href)="(/static/[^"]+)"', pages)):
        answer = service.client.get(target)
        assert answer.status_code == 200, target
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert service.client.get("/static/vendor/manifest.json").status_code == 404
    assert service.client.get("/static/..%2f__init__.py").status_code == 404


def test_no_template_marks_a_value_as_safe() -> None:
    assert ENVIRONMENT.autoescape is True
    for template in TEMPLATES.glob("*.html"):
        assert not re.search(r"\|\s*safe|autoescape|Markup", template.read_text()), template.name


def test_a_jobs_curves_are_grouped_by_what_they_measure(open_service: Service, tmp_path: Path) -> None:
    service = open_service
    job = service.job()
    held = service.bring(job, Status.RUNNING)
    for epoch in (1, 2):
        service.epoch(
            held, epoch, losses={"box": 1.0, "decoupled": 2.0}, weights={"decoupled": 0.1},
            diagnostics={"decoupled/ratio": 0.5, "decoupled/P3/ratio": 0.2}, metrics={"mAP50": 10.0, "precision": 5.0},
        )  # fmt: skip
    service.checkpoint(held, 2, tmp_path)
    shown = service.client.get(f"/jobs/{job}/curves").json()
    assert [(chart["title"], [one["name"] for one in chart["series"]]) for chart in shown["charts"]] == [
        ("Average precision during training, by Ultralytics", ["mAP50"]),
        ("Precision and recall, validation", ["precision"]),
        ("Task loss", ["box"]),
        ("Loss term decoupled, unweighted", ["decoupled"]),
        ("Gradient of each term, relative to the task's", ["decoupled"]),
        ("Weight of each term", ["decoupled"]),
        ("Learning rate", ["lr"]),
    ]
    assert (shown["epochs"], shown["best"], shown["resumed"]) == ([1, 2], 2, [])


def test_an_ended_job_marks_its_best_epoch_and_offers_its_figures(open_service: Service, tmp_path: Path) -> None:
    service, job = open_service, open_service.job()
    held = service.bring(job, Status.RUNNING)
    service.epoch(held, 1)
    service.publish(held, 1, b"{}\n", tmp_path, "metrics.jsonl")
    service.finish(held, Ending(Status.SUCCEEDED, result={"metrics": {}, "best_epoch": 1, "seconds": 4.0}))
    assert service.client.get(f"/jobs/{job}/curves").json()["best"] == 1
    shown = Reader(service.client).get(f"/jobs/{job}")
    assert f'download="{job}.csv"' in shown
    assert "Dashed green: the best checkpoint" in shown


def test_a_comparison_stands_side_by_side(open_service: Service) -> None:
    service = open_service
    job = service.job()
    figures = {"AP": 20.0, "AP_S": 10.0, "AP50": 40.0, "AP75": 15.0, "AP_M": 30.0, "AP_L": None}
    comparison = {
        "teacher": figures | {"AP": 30.0}, "alone": figures | {"AP": 18.5}, "student": figures,
        "difference": {"AP": 1.5}, "summary": "One seed proves nothing.",
    }  # fmt: skip
    warning = {"code": "teacher_behind", "message": "use a larger teacher"}
    result = {"metrics": {"coco": figures}, "comparison": comparison, "warnings": [warning]}
    service.finish(service.bring(job, Status.RUNNING), Ending(Status.SUCCEEDED, result=result))
    shown = re.sub(r"\s+", " ", Reader(service.client).get(f"/jobs/{job}"))
    assert '<p class="callout bad" id="verdict">Use a larger teacher. One seed proves nothing.</p>' in shown
    row = re.search(r'<th scope="row" title="[^"]+">AP</th>(.*?)</tr>', shown)
    assert row is not None
    assert re.findall(r">([^<]+)</td>", row[1]) == ["30.0 %", "18.5 %", "20.0 %", "+1.5 pt"]


def test_a_log_comes_as_text_from_a_place_on(open_service: Service) -> None:
    service = open_service
    job = service.job(Status.RUNNING)
    answer = service.client.get(f"/jobs/{job}/log").json()
    assert answer["pieces"] == []
    assert service.client.get(f"/jobs/{job}/log?after={answer['next']}").status_code == 200


def test_an_unknown_job_is_said_to_be(open_service: Service) -> None:
    service = open_service
    assert "Not found" in Reader(service.client).get("/jobs/job_f", 404)
    assert "Not found" in Reader(service.client).get(f"/jobs/{HOSTILE.replace('/', '')}", 404)


def test_a_run_that_looks_dead_says_so_before_its_end(open_service: Service) -> None:
    service, job = open_service, open_service.job()
    held = service.bring(job, Status.RUNNING)
    assert 'id="verdict"' not in Reader(service.client).get(f"/jobs/{job}")
    with service.database.transaction() as session:
        lifecycle.record_warning(session, held, "warmup_too_long", "it warms up for 3 of 3 epochs")
    shown = Reader(service.client).get(f"/jobs/{job}")
    assert '<p class="callout bad" id="verdict">It warms up for 3 of 3 epochs.</p>' in shown


def test_a_baselines_files_and_curves_are_counted_on_their_own(open_service: Service, tmp_path: Path) -> None:
    service = open_service
    held = service.with_baseline(epochs=2)
    for epoch in (1, 2, 3, 4):
        service.epoch(held, epoch, part="student" if epoch < 3 else "alone")
        service.progress(held, epoch=epoch, epochs=4)
    for name in ("student.pt", "alone.pt"):
        service.publish(held, 4, b"weights", tmp_path, name)
    shown = Reader(service.client).get(f"/jobs/{held.id}")
    assert "epoch 2 of 2 of the student alone" in shown
    cells = re.findall(r'(\w+)\.pt</a></td><td class="num">[^<]+</td><td class="num">([^<]+)</td>', shown)
    assert cells == [("alone", "2 alone"), ("student", "2")]
    curves_of = service.client.get(f"/jobs/{held.id}/curves").json()
    assert curves_of["epochs"] == [1, 2]
    assert {one["name"]: one["values"] for one in curves_of["charts"][0]["series"]} == {
        "mAP50": [10.0, 20.0], "mAP50 alone": [30.0, 40.0]
    }  # fmt: skip
