"""A trainer's log on its way into the database: whole lines, once, bounded, and fit to be read elsewhere."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.jobs import claims, lifecycle
from api.jobs.logs import service
from api.tables.states import Status
from tests.worker.conftest import TRAINER, Rows, Running, until
from worker import supervisor
from worker.logs import LONGEST, MOST_UNREAD, Reader
from worker.workplace import Workplace

Start = Callable[[], Running]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trainer.log"


@pytest.fixture
def reader(path: Path) -> Iterator[Reader]:
    reader = Reader(path)
    yield reader
    reader.close()


def write(path: Path, text: str) -> None:
    with path.open("ab") as file:
        file.write(text.encode())


def test_whole_lines_come_once(path: Path, reader: Reader) -> None:
    assert reader.read() == ""  # there is no log yet
    write(path, "one\ntw")
    assert reader.read() == "one\n"
    assert reader.read() == ""
    write(path, "o\nthrée".encode()[:-2].decode(errors="ignore"))
    assert reader.read() == "two\n"
    assert reader.read(to_the_end=True) == "thr\n"
    assert reader.read(to_the_end=True) == ""


def test_a_log_that_is_put_aside_is_read_to_its_end(path: Path, reader: Reader) -> None:
    write(path, "one\n")
    assert reader.read() == "one\n"
    write(path, "two\nthr")
    path.replace(path.with_name("trainer.log.1"))
    assert reader.read() == "two\n"
    write(path, "ee\nfour\n")
    assert reader.read() == "three\nfour\n"


def test_what_is_too_much_is_passed_over_and_said(path: Path, reader: Reader) -> None:
    lines = [f"{number:07}\n" for number in range(MOST_UNREAD // 4)]  # twice as much
    write(path, "".join(lines))

    note, *kept = reader.read().splitlines(keepends=True)

    assert (
        note
        == f"[{len(''.join(lines)) - len(''.join(kept))} bytes passed over: they came faster than they can be kept]\n"
    )
    assert kept == lines[-len(kept) :]
    assert MOST_UNREAD - 16 < len("".join(kept)) <= MOST_UNREAD


def test_a_line_without_end_takes_no_memory(path: Path, reader: Reader) -> None:
    write(path, "x" * 3 * MOST_UNREAD)
    assert reader.read() == ""
    write(path, "\nnext\n")

    assert reader.read() == "x" * LONGEST + "\nnext\n"


def test_lines_are_fit_for_people_elsewhere(path: Path, reader: Reader) -> None:
    write(path, "\x1b[31m  0%|  \r 50%|  \r100%|##\x1b[0m\n\0nul \x07 in /srv/secret/place/file.py\r\n\u2028\n")
    path.write_bytes(path.read_bytes() + b"\xff\n")

    assert reader.read() == "100%|##\n\ufffdnul \ufffd in file.py\n\ufffd\n\ufffd\n"


def work(place: Workplace, rows: Rows) -> None:
    held = rows.claim()
    assert held is not None
    supervisor.run(place, held, TRAINER)


def test_the_log_of_a_failed_attempt_is_kept(place: Workplace, rows: Rows) -> None:
    job_id = rows.job(epochs=3, chatty="yes", crash="2")
    work(place, rows)

    text = "".join(piece for _, piece in rows.log(job_id))

    assert rows.get(job_id).status == Status.FAILED
    assert text == ("epoch 1: see train.py \ufffd\nepoch 2: see train.py \ufffd\nZeroDivisionError in train.py\n")


def test_it_comes_at_the_heartbeats_and_stays_when_the_worker_is_lost(
    place: Workplace, rows: Rows, start: Start
) -> None:
    job_id = rows.job(epochs=50, chatty="yes", seconds="0.3")
    running = start()
    until(lambda: len(rows.log(job_id)) >= 2)
    assert rows.get(job_id).status == Status.RUNNING
    with place.database.transaction() as session:
        lifecycle.requeue(session, claims.Held(job_id, 1, "train", {}, 60))
    running.join()
    kept = rows.log(job_id)
    lines = "".join(piece for _, piece in kept).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {number}" for number in range(1, len(lines) + 1)]
    start()
    until(lambda: any(attempt == 2 for attempt, _ in rows.log(job_id)))
    assert rows.log(job_id)[: len(kept)] == kept
    with place.database.transaction() as session:
        lifecycle.request_cancel(session, job_id)
    until(lambda: rows.get(job_id).status == Status.CANCELLED)
    assert {attempt for attempt, _ in rows.log(job_id)} == {1, 2}


def test_an_attempt_keeps_its_newest_lines(place: Workplace, rows: Rows) -> None:
    job_id = rows.job()
    held = rows.claim()
    assert held is not None
    lines = [f"{number:09}\n" for number in range(service.MOST // 10 + 20_000)]
    for first in range(0, len(lines), 10_000):
        with place.database.transaction() as session:
            lifecycle.record_log(session, held, "".join(lines[first : first + 10_000]))

    pieces = [piece for _, piece in rows.log(job_id)]

    assert all(len(piece) <= service.PIECE for piece in pieces)
    text = "".join(pieces)
    assert service.MOST - service.PIECE < len(text) <= service.MOST
    assert text == "".join(lines)[-len(text) :]
