"""Links change pages in place: what the reader sees is what loading the document anew would show."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import update

from api.http.main import create_app
from api.settings import Settings
from api.tables.keys import ApiKey
from tests.api.conftest import Service, listening
from tests.api.console.conftest import HOSTILE

pytestmark = pytest.mark.slow


def mark(page: Page) -> None:
    """Leave a mark that only loading a document removes."""
    page.evaluate("window.marked = true")


def swapped(page: Page) -> bool:
    return bool(page.evaluate("window.marked === true"))


def hold(page: Page, pattern: str) -> list[Route]:
    """Hold requests back until the test answers them."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(pattern, keep)
    return held


def test_links_filters_and_the_back_button_change_the_page_in_place(page: Page, jobs: list[str]) -> None:
    page.goto("/jobs")
    mark(page)
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("Datasets")
    expect(page).to_have_title(re.compile("Datasets"))
    expect(page.locator("nav [aria-current=page]")).to_have_text("Datasets")
    expect(page.locator("main")).to_be_focused()
    page.go_back()
    expect(page.locator("h1")).to_have_text("Jobs")
    page.locator("select[name=status]").select_option("failed")
    page.wait_for_url("**/jobs?status=failed*")
    expect(page.locator("#live tbody tr")).to_have_count(1)
    page.locator("#live tbody a").first.click()
    page.wait_for_url(f"**/jobs/{jobs[1]}")
    expect(page.locator("#standing")).to_be_visible()
    expect(page.locator("time").first).not_to_contain_text("UTC")
    assert swapped(page)


def test_a_page_that_is_left_asks_no_more_and_one_that_is_reached_again_draws_again(
    page: Page, jobs: list[str]
) -> None:
    asked: list[str] = []
    page.goto(f"/jobs/{jobs[0]}")
    expect(page.locator(".charts .u-over")).to_have_count(5)
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("Datasets")
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(4000)  # polls come every three seconds
    assert [url for url in asked if jobs[0] in url] == []
    page.go_back()
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator(".charts .u-over")).to_have_count(5)
    asked.clear()
    with page.expect_response(lambda answer: f"/jobs/{jobs[0]}/log" in answer.url):
        pass
    page.emulate_media(color_scheme="dark")
    page.locator("#theme").click()
    expect(page.locator(".charts .u-over")).to_have_count(5)


def test_the_last_click_wins_whichever_page_arrives_last(page: Page, jobs: list[str]) -> None:
    page.goto("/jobs")
    late = hold(page, "**/datasets")
    page.get_by_role("link", name="Datasets").click(no_wait_after=True)
    page.get_by_role("link", name="Models").click()
    expect(page.locator("h1")).to_have_text("Models")
    for route in late:
        route.continue_()
    page.wait_for_timeout(1000)
    expect(page.locator("h1")).to_have_text("Models")
    assert page.url.endswith("/models")


@pytest.mark.parametrize("meanwhile", ["skip link", "download"])
def test_what_happens_while_a_page_loads_does_not_keep_it_away(page: Page, jobs: list[str], meanwhile: str) -> None:
    page.goto("/jobs")
    held = hold(page, "**/datasets")
    page.get_by_role("link", name="Datasets").click(no_wait_after=True)
    if meanwhile == "skip link":
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
    else:
        with page.expect_download():
            page.get_by_role("link", name="Source").click()
    for route in held:
        route.continue_()
    expect(page.locator("h1")).to_have_text("Datasets")


@pytest.mark.parametrize("status", [404, 503])
def test_a_late_poll_of_a_left_page_changes_nothing(page: Page, jobs: list[str], status: int) -> None:
    page.goto(f"/jobs/{jobs[0]}")
    held = hold(page, f"**/jobs/{jobs[0]}")
    while not held:
        page.wait_for_timeout(100)
    mark(page)
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("Datasets")
    for route in held:
        route.fulfill(status=status, body="{}", content_type="application/json")
    page.wait_for_timeout(1000)
    expect(page.locator("#lost")).to_be_hidden()
    assert swapped(page)


def test_a_draft_stays_until_it_has_become_a_job(page: Page, jobs: list[str]) -> None:
    page.goto("/jobs/new?kind=train")
    page.locator("#student").select_option("architecture:yolov8n")
    page.locator("[name='train.imgsz']").fill("333")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.locator(".callout.bad").first).to_be_visible()
    page.goto("/jobs")
    page.locator("#live tbody a").first.click()
    expect(page.locator("#standing")).to_be_visible()
    page.goto("/jobs/new?kind=train")
    expect(page.locator("[name='train.imgsz']")).to_have_value("333")
    page.get_by_role("button", name="Start afresh").click()
    expect(page.locator("[name='train.imgsz']")).to_have_value("")


def test_back_finds_what_was_ticked_even_if_the_list_has_moved(live: Service, page: Page, jobs: list[str]) -> None:
    page.goto("/jobs")
    page.locator(f"input[name=job][value={jobs[0]}]").check()
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("Datasets")
    live.job()
    page.go_back()
    expect(page.locator("h1")).to_have_text("Jobs")
    expect(page.locator("input[name=job]:checked")).to_have_count(1)
    expect(page.locator(f"input[name=job][value={jobs[0]}]")).to_be_checked()


def test_after_an_upgrade_a_page_is_loaded_as_a_document(page: Page, live: Service) -> None:
    page.goto("/jobs")
    mark(page)
    page.evaluate("document.querySelector('head script[defer]').setAttribute('src', '/static/bundle.js?v=older')")
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("Datasets")
    page.wait_for_function("window.marked === undefined")


def test_a_problem_page_leads_back_to_where_the_reader_was(page: Page, jobs: list[str]) -> None:
    page.goto("/jobs")
    page.evaluate("document.querySelector('#live tbody a').href = '/jobs/job_gone'")
    page.locator("#live tbody a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Not found")
    expect(page.get_by_role("link", name="Back")).to_have_attribute("href", "/jobs")


def test_back_to_a_refused_form_shows_a_page(page: Page, jobs: list[str]) -> None:
    page.goto("/jobs/new?kind=train")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.locator(".callout.bad").first).to_be_visible()
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("Datasets")
    assert not page.evaluate("'posted' in document.body.dataset")


def test_what_is_not_a_page_of_the_console_is_loaded_as_a_document(page: Page, jobs: list[str]) -> None:
    page.goto("/")
    mark(page)
    page.get_by_role("link", name="API", exact=True).click()
    expect(page.locator(".opblock").first).to_be_visible()
    assert not swapped(page)


def test_a_page_that_does_not_exist_says_so(page: Page, jobs: list[str]) -> None:
    page.goto("/jobs")
    page.evaluate("document.querySelector('#live tbody a').href = '/jobs/job_of_nobody'")
    mark(page)
    page.locator("#live tbody a").first.click()
    expect(page.locator("h1")).to_have_text("Not found")
    assert swapped(page)


def test_html_of_another_kind_is_loaded_as_a_document(page: Page, live: Service) -> None:
    page.goto("/jobs")
    other = "<h1>no page of the console</h1>"
    page.route("**/datasets", lambda route: route.fulfill(body=other, content_type="text/html"))
    page.get_by_role("link", name="Datasets").click()
    expect(page.locator("h1")).to_have_text("no page of the console")
    assert page.url.endswith("/datasets")


def test_a_reader_whose_key_is_revoked_is_asked_to_sign_in(browser: Browser, tmp_path: Path, migrated: Path) -> None:
    shutil.copy(migrated, tmp_path / "rdrkd.db")
    with listening(create_app(Settings(data_dir=tmp_path, broker_url="memory://", token="t"))) as service:
        key = service.key()["Authorization"].removeprefix("Bearer ")
        page = browser.new_context(base_url=str(service.client.base_url)).new_page()
        page.goto("/sign-in")
        page.locator("[name=key]").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("h1")).to_be_visible()
        page.get_by_role("link", name="Jobs").click()
        expect(page.locator("h1")).to_have_text("Jobs")
        with service.database.transaction(write=True) as session:
            session.execute(update(ApiKey).values(revoked_at=datetime.now(UTC)))
        page.get_by_role("link", name="Datasets").click()
        page.wait_for_url("**/sign-in*")
        page.context.close()
