"""The project as a whole: what is committed, what `make` offers, what must agree with what."""

import html
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Written so that the patterns do not find themselves.
FOREIGN = {
    "a package registry or its mirror": r"https?://[^\s\"')]*(?:py[p]i|pythonhosted|artifactory|nexus|mirror)|index-ur[l]",
    "a path of somebody's machine": r"(?<![\w.-])/(?:(?:home|work|Users)/\w|root/\.)",
    "a private key": r"BEGIN [A-Z ]*PRIVATE KEY",
}
TARGETS = "demo test test-all test-gpu check bench up down lock compose-test clean"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return [path for name in git("ls-files").splitlines() if (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("what", FOREIGN)
def test_tracked_files_name_no(what: str, tracked: list[Path]) -> None:
    pattern = re.compile(FOREIGN[what])
    hits = [
        f"{path.relative_to(ROOT)}:{number}: {found.group()}"
        for path in tracked
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        # The Dockerfile's cache lies there inside the image.
        if (found := pattern.search(line)) and "root/.cache/uv" not in line
    ]
    assert not hits


def test_nothing_large_or_binary_is_tracked(tracked: list[Path]) -> None:
    allowed = {".png", ".jpg"}
    scenes = ROOT / "api" / "console" / "demo-scenes.zip"  # 160 small pictures as one upload: the API cannot draw them
    binary = [path for path in tracked if b"\0" in path.read_bytes() and path.suffix not in allowed]
    assert binary == [scenes]
    assert not [path.name for path in tracked if path.stat().st_size > 2**20]


def test_bare_make_lists_its_targets() -> None:
    listing = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^  ([a-z-]+) +\S", listing, re.MULTILINE)
    assert not set(TARGETS.split()) - set(listed)


def test_every_listed_target_can_be_planned() -> None:
    plan = subprocess.run(["make", "--dry-run", *TARGETS.split()], cwd=ROOT, capture_output=True, text=True)
    assert plan.returncode == 0, plan.stderr


def test_version_is_one(pyproject: dict) -> None:
    version = pyproject["project"]["version"]
    assert metadata.version("rdrkd") == version
    assert re.search(rf"^## \[{re.escape(version)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_service_lock_has_no_torch_and_every_package_a_hash() -> None:
    for lock in ("service", "train", "dev", "uv"):
        text = (ROOT / "requirements" / f"{lock}.txt").read_text()
        packages = re.findall(r"^([a-z0-9-]+)==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE)
        assert len(packages) == len(re.findall(r"^[a-z0-9-]+", text, re.MULTILINE))
        assert ("torch" in packages) == (lock in ("train", "dev"))


def test_cpu_lock_drops_cuda_and_nothing_else() -> None:
    def names(text: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))

    lock = ROOT / "requirements" / "train.txt"
    cut = subprocess.run(
        ["awk", "-f", "requirements/without_cuda.awk", lock], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    dropped = names(lock.read_text()) - names(cut)
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} <= dropped
    assert all(re.match(r"(torch|torchvision|triton|cuda-.*|nvidia-.*)$", name) for name in dropped)
    assert {"ultralytics", "nvidia-ml-py", "numpy"} <= names(cut)


@pytest.mark.parametrize("module", ["api", "worker", "rdrkd.spec", "rdrkd.events", "rdrkd.reasons", "rdrkd.errors"])
def test_imports_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'ultralytics', 'numpy', 'cv2'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_every_ignored_lint_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("\nignore = [\n")[1].split("\n]")[0]
    assert len(block.splitlines()) > 3
    assert not [line for line in block.splitlines() if not re.search(r",  # .*\w{2,}", line)]


def test_relative_links_in_documents_lead_somewhere(tracked: list[Path]) -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in tracked
        if path.suffix == ".md"
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert not broken


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("rdrkd/__init__.py", "import torch"),
        ("rdrkd/events.py", "import ultralytics"),
        ("rdrkd/training/trainer.py", "import celery"),
        ("rdrkd/run/run.py", "import api.db"),
        ("rdrkd/losses/decoupled.py", "import rdrkd.losses.regenerated"),
        ("api/__init__.py", "import fastapi"),
        ("api/jobs/service.py", "import rdrkd.losses"),
        ("api/jobs/lifecycle.py", "import fastapi"),
        ("api/pagination.py", "import starlette"),
        ("api/tables/jobs.py", "import api.jobs.service"),
        ("api/uploads/service.py", "import api.http.main"),
        ("api/console/app.py", "import api.tables.jobs"),
        ("worker/tasks.py", "import api.http.main"),
    ],
)
def test_contracts_catch(module: str, statement: str, tmp_path: Path) -> None:
    for package in ("rdrkd", "api", "worker"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / module
    changed.write_text(f"{changed.read_text()}\n{statement}\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 1
    assert "BROKEN" in found.stdout


@pytest.mark.parametrize("page", ["security.md", "service.md"])
def test_every_line_names_tests_that_there_are(page: str) -> None:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.endswith("| |")][1:]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), test


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "page"),
    [
        ("generate_settings.py", "settings.md"),
        ("generate_gain.py", "when-does-it-help.md"),
        ("generate_reference.py", "reference.md"),
    ],
)
def test_generated_pages_are_current(tool: str, page: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / tool, tmp_path / page], check=True)
    assert (ROOT / "docs" / page).read_text() == (tmp_path / page).read_text(), f"run tools/{tool}"


@pytest.mark.slow
def test_figures_of_the_gain_show_the_results(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "generate_gain.py", tmp_path / "page.md"], check=True)
    drawn = sorted((tmp_path / "figures").glob("*.svg"))
    assert [path.name for path in drawn] == sorted(path.name for path in (ROOT / "docs" / "figures").glob("gain-*.svg"))
    for path in drawn:  # the values they plot: their lines depend on Matplotlib's release
        fresh, committed = (_description(p) for p in (path, ROOT / "docs" / "figures" / path.name))
        assert committed == fresh, "run make gain"


def _description(svg: Path) -> object:
    found = re.search(r"<dc:description>(.*?)</dc:description>", svg.read_text(), re.DOTALL)
    assert found is not None, svg
    return json.loads(html.unescape(found[1]))


def test_documentation_has_no_dead_link_and_no_orphan() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    linked: set[Path] = set()
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page.read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
                linked.add((page.parent / target).resolve())
    index = {(ROOT / "docs" / folder / "README.md").resolve() for folder in ("", "decisions", "methods", "results")}
    orphans = {page for page in (ROOT / "docs").glob("*.md") if page.resolve() not in linked | index}
    assert orphans == set()
