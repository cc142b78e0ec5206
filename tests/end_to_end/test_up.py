"""`rdrkd up`: one command, no server to install."""

import os
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import ROOT, is_alive, until


def rdrkd(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rdrkd", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, env=os.environ | environment)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "var"
    rdrkd("down", "--data-dir", tmp_path / "var")


def served(data_dir: Path) -> tuple[psutil.Process, str]:
    pid, url = (data_dir / "up.pid").read_text().split()
    return psutil.Process(int(pid)), url


def reapers(up: psutil.Process) -> list[psutil.Process]:
    return [child for child in up.children() if is_alive(child.pid) and "api.reaper" in child.cmdline()]


def test_up_and_down(data_dir: Path) -> None:
    started = rdrkd("up", "--data-dir", data_dir, "--port", "0", "--detach")
    assert started.returncode == 0, started.stderr
    up, url = served(data_dir)
    assert urllib.request.urlopen(f"{url}/healthz").status == 200
    until(lambda: len(up.children()) == 4, 10)

    again = rdrkd("up", "--data-dir", data_dir, "--port", "0")
    assert again.returncode != 0
    assert "already" in again.stderr

    # A child that dies is started again.
    [reaper] = reapers(up)
    reaper.kill()
    until(lambda: [other for other in reapers(up) if other.pid != reaper.pid], 10)

    children = [child.pid for child in up.children(recursive=True)]
    assert rdrkd("down", "--data-dir", data_dir).returncode == 0
    assert not is_alive(up.pid)
    assert not any(map(is_alive, children))
    assert not (data_dir / "up.pid").exists()


@pytest.mark.slow
def test_its_secrets_and_its_data_are_its_own(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o755)  # as an earlier version left it
    (data_dir / "rdrkd.db").touch(mode=0o644)
    started = rdrkd("up", "--data-dir", data_dir, "--port", "0", "--detach", RDRKD_TOKEN="s3cret-7f3a")
    assert started.returncode == 0, started.stderr
    up, url = served(data_dir)
    until(lambda: len(up.children()) == 4, 10)

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/v1/jobs")
    with_token = urllib.request.Request(f"{url}/v1/jobs", headers={"Authorization": "Bearer s3cret-7f3a"})
    assert urllib.request.urlopen(with_token).status == 200  # the API has it
    for process in (up, *up.children()) if sys.platform == "linux" else ():
        with suppress(PermissionError):  # for root alone there is something to see
            assert b"s3cret" not in Path(f"/proc/{process.pid}/environ").read_bytes(), process.cmdline()
    files = [data_dir, *(path for path in data_dir.rglob("*") if not path.is_symlink())]
    assert [path for path in files if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_port_that_another_service_answers_on_is_refused(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = rdrkd("up", "--data-dir", data_dir, "--port", str(port))
    assert refused.returncode != 0
    assert f"expected a free port, got 127.0.0.1:{port}" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_service_that_cannot_start_shows_the_apis_own_reason(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "rdrkd.db").write_bytes(b"not a database at all, but longer than the header of one would be" * 40)
    for detach in ((), ("--detach",)):
        failed = rdrkd("up", "--data-dir", data_dir, "--port", "0", *detach)
        assert failed.returncode == 3
        said = " ".join(failed.stderr.split())
        assert f"{data_dir}/logs" in said.replace(" ", "")
        assert "(sqlite3.DatabaseError) file is not a database" in said
        assert "Traceback" not in said
    open_to_all = rdrkd("up", "--data-dir", data_dir.parent / "other", "--port", "0", "--host", "0.0.0.0")
    assert "expected a token or an API key to listen on 0.0.0.0, got none" in " ".join(open_to_all.stderr.split())


@pytest.mark.slow
def test_the_settings_of_the_environment_count(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused = rdrkd("up", RDRKD_DATA_DIR=str(data_dir), RDRKD_PORT=port)
    assert f"expected a free port, got 127.0.0.1:{port}" in " ".join(refused.stderr.split())
    assert data_dir.is_dir()
    assert f"no service runs on {data_dir}" in " ".join(rdrkd("down", RDRKD_DATA_DIR=str(data_dir)).stderr.split())


@pytest.mark.slow
def test_children_follow_a_killed_parent(data_dir: Path) -> None:
    assert rdrkd("up", "--data-dir", data_dir, "--port", "0", "--detach").returncode == 0
    up, _ = served(data_dir)
    until(lambda: len(up.children()) == 4, 10)
    children = [child.pid for child in up.children(recursive=True)]
    os.kill(up.pid, 9)
    until(lambda: not any(map(is_alive, children)), 30)


@pytest.mark.slow
def test_whoever_makes_a_key_is_not_locked_out(data_dir: Path, tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    assert rdrkd("up", "--data-dir", data_dir, "--port", "0", "--detach", **state).returncode == 0
    _, url = served(data_dir)
    [token] = (tmp_path / "state" / "rdrkd" / "tokens").iterdir()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600

    assert rdrkd("keys", "create", "bob", "--owner", "bob", "--url", url, **state).stdout.startswith("rdr_")
    until(lambda: rdrkd("jobs", "list", "--url", url, XDG_STATE_HOME="/nowhere").returncode == 3, 30)
    assert rdrkd("jobs", "list", "--url", url, **state).returncode == 0
    assert rdrkd("keys", "list", "--url", url, **state).returncode == 0

    assert rdrkd("down", "--data-dir", data_dir).returncode == 0
    assert not token.exists()
