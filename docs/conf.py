"""Settings of the site that `make docs` builds from this folder with Sphinx and MyST.

The pages are plain Markdown, as GitHub shows it. The table of contents is what each README links to, so that a page
which no README names is an orphan, and ends the build.
"""

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
CAPTION = re.compile(r"^\*\*(?P<caption>[^*]+)\*\*$", re.MULTILINE)
PAGE = re.compile(r"\]\((?P<page>[\w./-]+\.md)(#[\w-]+)?\)")

project = "RDR-KD"
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]
author = "The authors of RDR-KD"
root_doc = "README"
extensions = ["myst_parser"]
myst_heading_anchors = 6  # links such as `page.md#a-heading`, as GitHub makes them
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # a shell quote over two lines is sound, whatever Pygments says
exclude_patterns = ["_build", "*.ipynb"]
html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_show_sphinx = False


def contents(readme: str) -> str:
    """Return a README with a hidden table of contents of the pages beside and below it that it links to.

    Each `**caption**` on a line of its own begins a part of the table. A page is listed once, where it comes first.
    """
    parts, listed = [], set()
    captions = [*CAPTION.finditer(readme)]
    starts = [0, *(match.start() for match in captions), len(readme)]
    for caption, begin, end in zip([None, *captions], starts, starts[1:], strict=False):
        pages = [match["page"] for match in PAGE.finditer(readme, begin, end)]
        below = [page for page in dict.fromkeys(pages) if not page.startswith("../") and page not in listed]
        listed.update(below)
        if below:
            name = [f":caption: {caption['caption']}"] if caption else []
            parts.append("\n".join(["", "```{toctree}", ":hidden:", *name, "", *below, "```", ""]))
    return readme + "".join(parts)


def add_contents(app: "Sphinx", docname: str, source: list[str]) -> None:
    """Give the pages named README their tables of contents."""
    if docname.rpartition("/")[2] == "README":
        source[0] = contents(source[0])


def setup(app: "Sphinx") -> None:
    """Register the tables of contents with Sphinx, which calls this."""
    app.connect("source-read", add_contents)
