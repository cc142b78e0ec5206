import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.worker.conftest import until
from worker.process import MAX_LINE, MAX_LOG, Child, last_words

ROOT = Path(__file__).resolve().parents[2]


def child(code: str, home: Path) -> Child:
    return Child([sys.executable, "-c", code], home, home / "child.log")


def test_a_log_stays_bounded_and_keeps_its_end(tmp_path: Path) -> None:
    noisy = child("import sys\nfor i in range(220_000): print('x' * 99, i, file=sys.stderr)", tmp_path)
    assert list(noisy.lines()) == []
    assert noisy.wait() == 0
    sizes = [path.stat().st_size for path in tmp_path.glob("child.log*")]
    assert len(sizes) == 2
    assert all(size < MAX_LOG + 2**17 for size in sizes)
    assert last_words(tmp_path / "child.log", lines=1).endswith("219999")


def test_last_words_are_plain_text(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\x1b[31mred\x1b[0m\n 10% ---\r 99% ---\r\x1b[Kdone\n")
    assert last_words(tmp_path / "log").splitlines() == ["red", "10% ---", "99% ---", "done"]
    (tmp_path / "log").write_bytes(b"nul \0 and \xff\n")
    assert last_words(tmp_path / "log") == "nul \ufffd and \ufffd"


def test_a_line_without_end_is_dropped_and_the_next_one_read(tmp_path: Path) -> None:
    endless = child(f"print('a'); print('x' * {3 * MAX_LINE}); print('b')", tmp_path)
    assert list(endless.lines()) == [b"a\n", b"b\n"]
    assert endless.wait() == 0


def test_what_a_child_leaves_running_dies_with_it(tmp_path: Path) -> None:
    parent = child("import subprocess; p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True)", tmp_path)
    [line] = parent.lines()  # ends although the grandchild holds the pipe open
    parent.wait()
    until(lambda: not psutil.pid_exists(int(line)) or psutil.Process(int(line)).status() == "zombie", 5)


def test_stop_asks_first_and_kills_after_the_grace(tmp_path: Path) -> None:
    deaf = child("import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)", tmp_path)
    next(deaf.lines())
    started = time.monotonic()
    until(lambda: deaf.stop(0.5) or not psutil.pid_exists(deaf.pid), 10)
    assert deaf.wait() == -signal.SIGKILL
    assert 0.4 < time.monotonic() - started < 5


STARTER = """
import sys, time
from pathlib import Path
from worker.process import Child
code = "import time, rdrkd.process.die_with_parent as d; d.die_with_parent(); print(flush=True); time.sleep(300)"
child = Child([sys.executable, "-c", code], Path(sys.argv[1]), Path(sys.argv[1], "log"))
next(child.lines())
print(child.pid, flush=True)
time.sleep(300)
"""


def test_no_child_outlives_a_killed_worker(tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    with worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        assert psutil.pid_exists(pid)
        worker.kill()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 5)


def test_a_child_that_starts_after_its_worker_is_gone_ends_at_once(tmp_path: Path) -> None:
    code = "from rdrkd.process.die_with_parent import die_with_parent; die_with_parent(); print('alive')"
    environment = os.environ | {"RDRKD_PARENT": "1"}
    late = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True)
    assert (late.returncode, late.stdout) == (-signal.SIGKILL, b"")
