"""Measure how long a reader waits in a browser, from the release of a button to the next frame with the new content.

The page measures itself, so that the driver of the browser does not count: a listener notes when the event happened,
and a frame callback looks for the new content, in whichever document it appears.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page

from tests.browser import chromium

TIMES = 60
PRESS = 80  # ms between pressing and releasing a button, as a reader does
WATCH = """
for (const name of ["pointerup", "keydown", "change"])
  addEventListener(name, (event) => {
    if (sessionStorage.getItem("want") && !sessionStorage.getItem("begun"))
      sessionStorage.setItem("begun", performance.timeOrigin + event.timeStamp);
  }, true);
const look = () => {
  const [want, begun] = [sessionStorage.getItem("want"), sessionStorage.getItem("begun")];
  if (want && begun && document.querySelector(want)) {
    sessionStorage.removeItem("want");
    const { port1, port2 } = new MessageChannel();  // a message that is sent before a paint arrives after it
    port1.onmessage = () => sessionStorage.setItem("took", performance.timeOrigin + performance.now() - Number(begun));
    requestAnimationFrame(() => port2.postMessage(null));
  }
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


@dataclass
class Interaction:
    """Where it begins, what the reader does, a selector of the new content alone, and what is done before the clock."""

    start: str
    act: Callable[[Page], None]
    shows: str
    ready: Callable[[Page], None] = lambda page: None


def _choose(selector: str, value: str) -> Callable[[Page], None]:
    def choose(page: Page) -> None:
        page.locator(selector).select_option(value)

    return choose


def _click(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.click(delay=PRESS)


def _tick_two(page: Page) -> None:
    for place in (0, 1):
        page.locator("input[name=job]").nth(place).check()
    page.locator("#chosen > button").focus()


def _forget_check(page: Page) -> None:
    """Empty the verdict, which the next check writes anew."""
    page.locator("#check .bad").first.wait_for()
    page.evaluate("document.querySelector('#check .bad').textContent = ''")


INTERACTIONS = {
    "open a job from the list": Interaction("/jobs", _click("#live tbody a"), "#standing"),
    "filter the list by status": Interaction(
        "/jobs", _choose("select[name=status]", "succeeded"), "#live tbody tr:first-child .badge.good"
    ),
    "next page of the list": Interaction("/jobs", _click(".pages a"), ".pages a[href='/jobs']"),
    "go to another section": Interaction("/jobs", _click(".top a[href='/datasets']"), "#upload"),
    "unfold the settings": Interaction("/jobs/new?kind=train", _click("form details summary"), "form details[open]"),
    "compare two jobs": Interaction(
        "/jobs?status=succeeded", lambda page: page.keyboard.press("Enter"), "select[name=study]", _tick_two
    ),
    "live check of a form": Interaction(
        "/jobs/new?kind=train&student=architecture%3Ayolov8n&train.epochs=-1",
        _choose("[name='train.optimizer']", "AdamW"),
        "#check > .bad:not(:empty)",
        _forget_check,
    ),
}


def browse(url: str) -> dict[str, dict[str, float]]:
    """Measure each interaction; those of a service with jobs of which some have succeeded."""
    found: dict[str, dict[str, float]] = {}
    with chromium() as browser:
        page = browser.new_context(base_url=url, bypass_csp=True).new_page()  # or nothing could be waited for
        page.add_init_script(WATCH)
        page.goto("/")
        for name, interaction in INTERACTIONS.items():
            taken = [_once(page, interaction) for _ in range(TIMES + 1)][1:]  # the first fills the browser's cache
            p95 = statistics.quantiles(taken, n=20)[-1]
            found[name] = {"p50_ms": round(statistics.median(taken), 1), "p95_ms": round(p95, 1)}
            print(json.dumps({name: found[name]}), flush=True)
    return found


def _once(page: Page, interaction: Interaction) -> float:
    page.evaluate("path => navigation.navigate(path).finished", interaction.start)  # as a link does
    page.wait_for_load_state("networkidle")
    interaction.ready(page)
    page.evaluate(
        "want => { for (const name of ['took', 'begun']) sessionStorage.removeItem(name); "
        "sessionStorage.setItem('want', want); }",
        interaction.shows,
    )
    interaction.act(page)
    page.wait_for_function("sessionStorage.getItem('took')")
    return float(page.evaluate("Number(sessionStorage.getItem('took'))"))
