"""The console in a real browser: nothing is refused by its own policy, pages mend themselves, axe finds nothing."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from api.tables.states import Status
from tests.api.conftest import ZIP, Service
from tests.api.console.conftest import HOSTILE
from tests.api.uploads.datasets.previews import with_preview

pytestmark = pytest.mark.slow
LOOKS = [("light", 1280), ("dark", 1280), ("light", 390)]


@pytest.fixture(scope="module")
def pages(live: Service, jobs: list[str]) -> list[str]:
    """Every page, with something on it."""
    get = live.client.get
    dataset = get("/v1/datasets").json()["data"][0]["id"]
    hook = {"url": "http://127.0.0.1:9/x", "name": HOSTILE}
    webhook = live.client.post("/v1/webhooks", json=hook).raise_for_status().json()["id"]
    spec = {"kind": "train", "model": {"architecture": "yolov8n"}, "train": {"epochs": 1}}
    study = {
        "name": "paper", "dataset": dataset, "student": {"architecture": "yolov8n-half"}, "train": {"epochs": 1},
        "teacher": {"model": spec["model"], "train": {"epochs": 1}}, "methods": ["none", "rdr-kd"], "seeds": [0],
    }  # fmt: skip
    made = live.client.post("/v1/studies", json=study).raise_for_status().json()["id"]
    lists = [
        "/",
        "/jobs",
        "/jobs/new",
        "/datasets",
        "/models",
        "/studies",
        "/studies/new",
        "/administration",
        "/audit",
        "/webhooks",
    ]
    trained = live.job(Status.SUCCEEDED)
    ones = [
        f"/jobs/{trained}",
        f"/datasets/{dataset}",
        f"/studies/{made}",
        f"/webhooks/{webhook}",
        *(f"/jobs/{job}" for job in jobs),
    ]
    leafed = f"/datasets/{with_preview(live)}/images?label=van"
    model = live.client.post("/v1/models", files={"file": (f"{HOSTILE}.pt", b"PK\x05\x06" + bytes(18))})
    predicted = f"/jobs/{jobs[0]}/predictions?over=decoupled-P3"
    compared = f"/compare?job={jobs[0]}&job={jobs[1]}"
    return [
        *lists,
        *ones,
        compared,
        predicted,
        leafed,
        f"/models/{model.raise_for_status().json()['id']}",
        f"/jobs/new?from={jobs[0]}",
        "/compare",
        "/jobs/job_0",
        "/sign-in",
    ]


def test_every_page_shows_and_axe_finds_nothing(page: Page, pages: list[str]) -> None:
    for path in pages:
        page.goto(path)
        for scheme, width in LOOKS:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("h1").first).to_be_visible()
            expect(page.locator(":root")).to_have_attribute("data-theme", scheme)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{path} {scheme} {width}: {found.generate_report()}"
            page.evaluate("document.querySelectorAll('select').forEach((each) => each.add(new Option('x'.repeat(90))))")
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} at {width} px is {wide} px too wide"


def test_the_theme_goes_back_to_the_systems_choice(page: Page, live: Service) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto("/sign-in")
    button, root = page.locator("#theme"), page.locator(":root")
    for words, theme in (("light", "light"), ("dark", "dark"), ("as the system", "dark")):
        button.click()
        expect(button).to_have_attribute("title", f"Colours: {words}")
        expect(root).to_have_attribute("data-theme", theme)
        page.reload()
        expect(root).to_have_attribute("data-theme", theme)
    page.emulate_media(color_scheme="light")
    expect(root).to_have_attribute("data-theme", "light")


def test_a_job_draws_its_curves_and_a_hostile_name_is_text(live: Service, page: Page, jobs: list[str]) -> None:
    page.goto(f"/jobs/{jobs[0]}")
    expect(page.locator("h1")).to_have_text(HOSTILE)
    assert "RDR-KD" in page.title()
    expect(page.locator(".charts .u-over")).to_have_count(5)
    page.locator(".charts .u-over").first.hover()
    expect(page.locator(".charts .u-legend").last).to_contain_text("epoch")
    expect(page.locator("time").first).not_to_contain_text("UTC")


def test_a_page_follows_and_mends_itself(live: Service, page: Page, jobs: list[str]) -> None:
    page.goto(f"/jobs/{jobs[0]}")
    page.route("**/*", lambda route: route.abort())
    expect(page.locator("#lost")).to_be_visible()
    page.unroute("**/*")
    expect(page.locator("#lost")).to_be_hidden()
    live.client.post(f"/v1/jobs/{jobs[0]}/pause").raise_for_status()
    expect(page.locator("#standing")).to_contain_text("Pausing")
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator("#standing")).to_contain_text("Stopping")


def test_a_fold_stays_open_while_the_page_follows(page: Page, jobs: list[str]) -> None:
    page.goto(f"/jobs/{jobs[0]}")
    page.get_by_text("As submitted").click()
    for _ in range(2):
        with page.expect_response(lambda answer: answer.url.endswith(f"/jobs/{jobs[0]}")):
            pass
    page.wait_for_timeout(500)  # until the answer is in the page
    assert page.get_by_text("As submitted").locator("..").evaluate("fold => fold.open")


def test_an_upload_goes_on_after_a_broken_connection_and_a_closed_tab(page: Page, tmp_path: Path) -> None:
    (tmp_path / "scenes.zip").write_bytes(ZIP[1] + bytes(2**20))
    announced = []
    page.on("request", lambda asked: announced.append(asked.url) if asked.method == "POST" else None)

    def upload() -> None:
        page.goto("/datasets")
        if not page.locator("#file").is_visible():
            page.get_by_text("Upload a dataset").click()
        page.locator("#file").set_input_files(tmp_path / "scenes.zip")
        page.get_by_role("button", name="Upload", exact=True).click()

    page.route("**/through/v1/uploads/*", lambda route: route.abort())
    upload()
    expect(page.locator("#upload output")).to_contain_text("The connection broke")
    upload()  # in the same browser, after the first page was left
    expect(page.locator("#upload output")).to_contain_text("The connection broke")
    page.unroute("**/through/v1/uploads/*")
    expect(page.locator("h1")).to_have_text("scenes.zip")
    assert len(announced) == 1


def test_a_form_survives_a_reload_and_marks_what_is_refused(page: Page) -> None:
    page.goto("/jobs/new?kind=train")
    expect(page.locator("#draft")).to_be_hidden()
    page.locator("#student").select_option("architecture:yolov8n")
    page.locator("[name='train.imgsz']").fill("333")
    expect(page.locator("label.invalid", has_text="imgsz")).to_be_visible()
    page.reload()
    expect(page.locator("#draft")).to_be_visible()
    expect(page.locator("[name='train.imgsz']")).to_have_value("333")
    expect(page.locator("#student")).to_have_value("architecture:yolov8n")
    page.get_by_role("button", name="Start afresh").click()
    expect(page.locator("[name='train.imgsz']")).to_have_value("")


def test_an_image_of_a_dataset_is_shown_large(page: Page, pages: list[str]) -> None:
    page.goto(next(path for path in pages if "/images?" in path))
    before = page.locator("#list figure").first.bounding_box()
    page.locator("a.large").first.click()
    after = page.locator("#list figure").first.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > 1.5 * before["width"]


def test_a_filter_acts_once_it_is_chosen(page: Page, jobs: list[str]) -> None:
    page.goto("/jobs")
    page.locator("select[name=status]").select_option("paused")
    expect(page.locator("#live")).to_contain_text("No job matches.")
    page.wait_for_url("**/jobs?status=paused*")


def test_the_documentation_of_the_api_shows_offline(page: Page) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()


def test_the_slider_moves_the_boundary_between_two_networks(page: Page, jobs: list[str]) -> None:
    page.goto(f"/jobs/{jobs[0]}/predictions?left=truth&right=student")
    page.locator(".slider").focus()
    page.keyboard.press("End")
    expect(page.locator(".layer.right")).to_have_css("clip-path", "inset(0px 0px 0px 100%)")
    expect(page.locator(".layer.left")).to_have_css("clip-path", "inset(0px 0% 0px 0px)")
    found, missed = page.locator(".key rect.found"), page.locator(".key rect.missed")
    expect(found).to_have_css("stroke-dasharray", "none")
    expect(missed).to_have_css("stroke-dasharray", "4px, 2px")
