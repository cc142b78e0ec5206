"""The documentation's site: every page has a place in it. `make docs` builds it, and fails on dead links."""

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
CONF = runpy.run_path(str(DOCS / "conf.py"))


def test_a_readme_gets_the_pages_that_it_links_to_by_part() -> None:
    learn = "**Learn**\n* [a](a.md), [b](sub/b.md#part), [a](a.md)"
    readme = f"# T\n[zero](zero.md)\n\n{learn}\n\n**Do**\n* [up](../c.md) [d](d.md)"
    assert CONF["contents"](readme) == readme + (
        "\n```{toctree}\n:hidden:\n\nzero.md\n```\n"
        "\n```{toctree}\n:hidden:\n:caption: Learn\n\na.md\nsub/b.md\n```\n"
        "\n```{toctree}\n:hidden:\n:caption: Do\n\nd.md\n```\n"
    )


def test_every_page_can_be_reached_from_the_start_page() -> None:
    reached, waiting = set(), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        if page.name == "README.md":  # only these have tables of contents
            named = [match["page"] for match in CONF["PAGE"].finditer(page.read_text())]
            waiting += {(page.parent / name).resolve() for name in named} - reached
    assert reached == {*DOCS.rglob("*.md")}
