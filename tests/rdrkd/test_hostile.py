"""Whatever a file holds, its inspection ends with a problem in the user's terms, and a report that fits a line."""

import json
from pathlib import Path
from typing import Any

import pytest

from rdrkd.run.inspection import inspect
from tests.rdrkd.hostile import HOSTILE, SOUND, changed

LINE = 2**24  # bytes that a worker reads of a report


def verdict(path: Path) -> dict[str, Any]:
    report = inspect(path)
    assert len(json.dumps(report)) < LINE
    assert report["ok"] is (report["problems"] == [])
    for problem in report["problems"]:
        assert "expected" in problem["detail"], problem
        assert "Traceback" not in problem["detail"]
        assert str(path.parent) not in problem["detail"]
    return report


@pytest.mark.parametrize("which", HOSTILE)
def test_a_hostile_file_is_refused_in_the_users_terms(
    tmp_path: Path, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    suffix, make = HOSTILE[which]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(make(tmp_path))
    assert not verdict(path)["ok"]
    assert not [record for record in caplog.records if record.name.startswith("rdrkd")]  # foreseen, each of them


@pytest.mark.slow
@pytest.mark.parametrize("which", SOUND)
def test_bytes_changed_at_random(tmp_path: Path, which: str) -> None:
    suffix, make = SOUND[which]
    path = tmp_path / f"x{suffix}"
    content = make(tmp_path)
    path.write_bytes(content)
    assert verdict(path)["ok"]
    for copy in changed(content, 150, seed=1):
        path.write_bytes(copy)
        verdict(path)
