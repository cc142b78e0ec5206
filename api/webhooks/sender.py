"""The senders: threads beside the reaper that make messages of what has ended and bring them to their receivers."""

import logging
import threading
import time

from sqlalchemy.exc import DBAPIError

from api.db import Database
from api.settings import Settings
from api.webhooks import client, delivery, events

log = logging.getLogger(__name__)

THREADS = 4  # messages that are under way at once, of each process


class Sender:
    """Looks for what has ended and what is due; safe in any number of threads and processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url, kept=1)

    def start(self, stop: threading.Event) -> list[threading.Thread]:
        """Start the threads; they end soon after `stop` is set."""
        threads = [
            threading.Thread(target=self.run, args=(stop, number == 0), name=f"webhooks-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        return threads

    def run(self, stop: threading.Event, announces: bool = True) -> None:
        """Work until `stop` is set; one thread of a process makes the messages, all send them."""
        while not stop.is_set():
            try:
                if announces:
                    self.announce()
                while not stop.is_set() and self.deliver():
                    pass
            except DBAPIError as error:  # it is away, or not migrated yet
                log.warning("the webhooks wait for the database: %s", error.orig)
            except Exception:
                log.exception("a round of the webhooks failed; trying again")
            stop.wait(self.settings.webhooks_seconds)

    def announce(self) -> None:
        """Make messages of the jobs and studies that have ended."""
        with self.database.transaction() as session:
            jobs = events.announce_jobs(session)
        with self.database.transaction() as session:
            studies = events.announce_studies(session)
        if jobs or studies:
            log.info("%d jobs and %d studies have ended", jobs, studies)

    def deliver(self) -> bool:
        """Send one message that is due; False where there is none."""
        with self.database.transaction() as session:
            due = delivery.claim(session)
        if due is None:
            return False
        settings, began = self.settings, time.monotonic()
        http, private = settings.webhooks_allow_http, settings.webhooks_allow_private
        answer = client.send(due.url, due.id, due.body, due.secrets, http, private)
        seconds = time.monotonic() - began
        log.info("%s attempt %d: %s", due.id, due.attempt, answer.status_code or answer.error)
        with self.database.transaction() as session:
            first, most = settings.webhooks_retry_seconds, settings.webhooks_disable_days
            delivery.settle(session, due, answer, seconds, first, most)
        return True
