"""A person's way through the console in a browser, on the real service: from nothing to a downloaded student."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium
from tests.end_to_end.conftest import Service, quick

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("backend", ["embedded"], indirect=True)]
PATIENCE = 120_000  # ms: the machine may be busy
TRAINING = 400_000
HOSTILE = "<img src=x onerror=alert(1)>.zip"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    context = browser.new_context(base_url=f"http://127.0.0.1:{service.port}", accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a stranger's script ran: {dialog.message}"))
    yield page
    context.close()


def sign_in(page: Page, key: str) -> None:
    page.goto("/")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_have_text("Home")


def fill(page: Page, settings: dict[str, Any]) -> None:
    """Fill in training settings of a form."""
    for name, value in settings.items():
        field = page.locator(f'[name="train.{name}"]')
        if not field.is_visible():
            page.get_by_text("more settings").click()
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(str(value).lower() if isinstance(value, bool) else str(value))
        else:
            field.fill(str(value))


def test_from_nothing_to_a_student(service: Service, page: Page, scenes: Path, tmp_path: Path) -> None:
    for name in ("reaper", "inspect", "train"):
        service.start(name)
    hostile = Path(shutil.copy(scenes, tmp_path / HOSTILE))

    sign_in(page, "e2e-token")
    expect(page.get_by_text("Nothing is here yet")).to_be_visible()
    page.get_by_role("link", name="Upload a dataset").click()
    page.locator("#file").set_input_files(hostile)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("h1")).to_have_text(hostile.name)
    expect(page.locator(".callout")).to_contain_text("Checked")

    page.get_by_role("link", name="New job…").click()
    page.get_by_text("Train a network alone").click()
    page.locator("#student").select_option("architecture:yolov8n-half")
    fill(page, quick(2))
    expect(page.locator("#check")).to_contain_text("It would be accepted")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.locator("#standing")).to_be_visible()
    job = page.url.rpartition("/")[2]

    # The same again, which waits for the only worker, is cancelled.
    page.get_by_role("link", name="Clone…").click()
    page.locator("#name").fill("never mind")
    page.get_by_role("button", name="Submit the job").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".badge").first).to_have_text("cancelled")

    # The API dies while the page is open, and is started again: the page says so, and goes on by itself.
    page.goto(f"/jobs/{job}")
    api = service.processes[0]
    api.kill()
    api.wait()
    expect(page.locator("#lost")).to_be_visible()
    service.start_api()
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator(".badge").first).to_have_text("succeeded", timeout=TRAINING)
    expect(page.locator("#charts figure").first).to_be_visible()
    expect(page.locator("#log")).to_contain_text("epochs completed")

    with page.expect_download() as saved:
        page.get_by_role("link", name="Download the weights").click()
    saved.value.save_as(tmp_path / "student.pt")
    assert zipfile.is_zipfile(tmp_path / "student.pt")

    page.get_by_role("link", name="Predictions", exact=True).click()
    expect(page.locator("figure.scene .layer.right").first).to_be_visible()
    page.goto(f"/compare?job={job}")
    expect(page.locator("main")).to_contain_text("AP_S")

    # The same network as a teacher: what the form says, before it is submitted.
    page.goto("/jobs/new")
    page.locator("#dataset").select_option(index=1)
    page.locator("#teacher").select_option(f"job:{job}")
    page.locator("#student").select_option("architecture:yolov8n-half")
    expect(page.locator("#check")).to_contain_text("It would be accepted")

    page.goto("/studies/new")
    page.locator("#name").fill("does-it-help")
    page.locator("#dataset").select_option(index=1)
    page.locator("#teacher").select_option(f"job:{job}")
    page.locator("#student").select_option("architecture:yolov8n-half")
    page.locator("#seeds").fill("0")
    fill(page, quick(1))
    expect(page.locator("#check")).to_contain_text("It would be accepted: 2 jobs")
    page.get_by_role("button", name="Submit the study").click()
    expect(page.locator("h1")).to_have_text("does-it-help")
    expect(page.locator(".progress")).to_contain_text("2 of 2 jobs have ended", timeout=TRAINING)
    read = page.get_by_role("link", name="Read it")
    read.wait_for(timeout=TRAINING)
    with page.expect_popup() as opened:
        read.click()
    expect(opened.value.locator("body")).to_contain_text("rdr-kd")

    page.goto("/datasets")
    page.get_by_role("link", name=hostile.name).click()
    page.get_by_role("link", name="Leaf through images").click()
    picture = page.locator(".sheet image").first.get_attribute("href")
    assert picture is not None
    assert page.request.get(picture).body().startswith(b"\xff\xd8\xff")

    key = {"name": "reader", "owner": "alice", "scope": "read"}
    made = service.client.post("/v1/api-keys", json=key).raise_for_status().json()["key"]
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, made)
    expect(page.get_by_role("link", name="New job")).to_have_count(0)
    answer = page.goto(f"/jobs/{job}")
    assert answer is not None
    assert answer.status == 404  # the operator's, and nobody else's
