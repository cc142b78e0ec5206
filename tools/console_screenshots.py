"""Take the screenshots for docs/console.md from a running service.

`python tools/console_screenshots.py URL NAME=PATH,LOOK ...`; LOOK is light, dark or phone. Needs Chromium and the
development environment.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "figures" / "console"
LOOKS = {"light": (1200, 900, "light"), "dark": (1200, 900, "dark"), "phone": (390, 800, "light")}
COLOURS = 256  # colours per screenshot: pages have few, but their photographs more
SETTLED = 2500  # ms to wait until curves are drawn


def take(url: str, shots: list[str]) -> None:
    """Take each screenshot, with few colours."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for shot in shots:
            name, _, rest = shot.partition("=")
            path, _, look = rest.rpartition(",")
            width, height, scheme = LOOKS[look]
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB")
            page.goto(url + path)
            page.wait_for_timeout(SETTLED)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2:])
