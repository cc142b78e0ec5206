"""`python -m api keys`: before the service has ever run, and beside it."""

import time
from pathlib import Path

import pytest

from api.__main__ import main
from api.http.key_lookup import SECONDS
from tests.api.conftest import Start
from tests.api.test_server import environment


def test_a_key_can_be_made_before_the_service_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path / "var").items():
        monkeypatch.setenv(name, value)

    def keys(*arguments: str) -> str:
        assert main(["keys", *arguments]) == 0
        return capsys.readouterr().out

    key = keys("create", "first", "--owner", "ops", "--scope", "admin").strip()
    key_id = f"key_{key.split('_')[1]}"

    assert keys("list").split() == [key_id, "admin", "ops", "first", "never", "used"]
    assert keys("revoke", key_id) == f"{key_id} is revoked\n"
    assert "revoked" in keys("list")


@pytest.mark.slow
def test_a_key_of_the_command_opens_the_running_service(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with start() as service:
        for name, value in environment(tmp_path / "var").items():
            monkeypatch.setenv(name, value)
        assert service.client.get("/v1/jobs").status_code == 200
        assert main(["keys", "create", "late", "--owner", "ops", "--scope", "admin", "--days", "1"]) == 0
        key = capsys.readouterr().out.strip()
        time.sleep(SECONDS)

        assert service.client.get("/v1/jobs").status_code == 401
        assert service.client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "x", "--owner", "a/b"], "owner: expected"),
        (["create", "x", "--owner", "a", "--scope", "admin", "--days", "-1"], "expires_at: expected"),
        (["create", "x", "--owner", "a"], "expected an admin key first"),
        (["revoke", "key_1"], "expected the id"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    for name, value in environment(tmp_path / "var").items():
        monkeypatch.setenv(name, value)

    assert main(["keys", *arguments]) == 2
    assert words in capsys.readouterr().err
