"""Take the screenshots for docs/console.md from a running service: each page light, dark and on a phone.

`python tools/console_screenshots.py URL NAME=PATH ...` writes a sheet of three for each page, with `NAME=PATH,light`
only the first, in full size. Needs Chromium and the development environment.
"""

import io
import shutil
import sys
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "figures" / "console"
HEIGHT, GAP = 900, 24  # px
Scheme = Literal["light", "dark"]
LOOKS: tuple[tuple[int, Scheme], ...] = ((1200, "light"), (1200, "dark"), (390, "light"))  # widths, px
ONE = ",light"
SCALE = 0.6  # of a sheet of three
COLOURS = 256  # colours per sheet: pages have few, but their photographs more
SETTLED = 2500  # ms to wait until curves are drawn


def take(url: str, shots: list[str]) -> None:
    """Take each page's sheet, with few colours."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for shot in shots:
            name, _, path = shot.removesuffix(ONE).partition("=")
            looks = LOOKS[:1] if shot.endswith(ONE) else LOOKS
            sheet = _sheet([_look(browser, url + path, width, scheme) for width, scheme in looks])
            sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)
        browser.close()


def _look(browser: Browser, url: str, width: int, scheme: Scheme) -> Image.Image:
    page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, locale="en-GB")
    page.goto(url)
    page.wait_for_timeout(SETTLED)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    page.close()
    return picture


def _sheet(pictures: list[Image.Image]) -> Image.Image:
    if len(pictures) == 1:
        return pictures[0]
    sheet = Image.new("RGB", (sum(each.width for each in pictures) + GAP * (len(pictures) - 1), HEIGHT), "white")
    left = 0
    for each in pictures:
        sheet.paste(each, (left, 0))
        left += each.width + GAP
    return sheet.resize((round(sheet.width * SCALE), round(sheet.height * SCALE)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2:])
