"""Whatever bytes come, the answer is a dataset or a DatasetError, and nothing outside the cache."""

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdrkd.data import open_dataset
from rdrkd.data.check import check
from rdrkd.data.yolo import parse_line
from rdrkd.errors import DatasetError
from tests.rdrkd.data.crafted import YAML, make_dataset, zip_up


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("sound")
    return zip_up(make_dataset(folder / "d"), folder / "a.zip").read_bytes()


def survives(folder: Path, content: bytes) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    archive = folder / "a.zip"
    archive.write_bytes(content)
    try:
        dataset = open_dataset(archive, folder / "cache")
    except DatasetError:
        left = list((folder / "cache").iterdir()) if (folder / "cache").exists() else []
        assert left == []
    else:
        assert dataset.root.is_relative_to(folder / "cache" / dataset.sha256)
        check(dataset)
    assert {p.name for p in folder.iterdir()} <= {"a.zip", "cache"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_survives_flipped_bytes(tmp_path: Path, sound: bytes, changes: list[tuple[float, int]]) -> None:
    content = bytearray(sound)
    for share, value in changes:
        content[int(share * len(content))] = value
    survives(tmp_path / "work", bytes(content))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=60), st.text("{}[]:,-&*!|>'\"#%@? \n\tab01", max_size=40)))
def test_survives_any_yaml(tmp_path: Path, text: str) -> None:
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    make_dataset(work, None)
    for content in (text, YAML + text, f"train: images/train\nval: images/val\nnames: {text}"):
        (work / "data.yaml").write_bytes(content.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(DatasetError):
            assert open_dataset(work, tmp_path / "cache").names


@given(st.one_of(st.text(max_size=50), st.lists(st.floats().map(repr), min_size=4, max_size=6).map(" ".join)))
def test_a_label_line_is_read_or_refused(line: str) -> None:
    try:
        label, *shares = parse_line(line, 3)
    except ValueError:
        return
    assert 0 <= label < 3
    assert all(-0.01 <= share <= 1.01 for share in shares)
