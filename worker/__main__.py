"""Start a worker: `python -m worker --queue train`, one per GPU, or `python -m worker --queue inspect`."""

import argparse
import logging
import os
import sys

from api import log_setup, tracing
from api.settings import Settings
from api.wake_ups import INSPECT, TRAIN
from rdrkd.process.secret_hiding import seal
from worker.workplace import own_name

log = logging.getLogger("worker")  # `__name__` is `__main__` here

ENDED_BY_ITSELF = 1  # exit status when Celery ended without an error of its own


def main() -> int:
    """Run the worker of one queue until it is asked to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--queue", choices=[TRAIN, INSPECT], required=True, help="what to work on")
    options = parser.parse_args()
    seal()

    log_setup.set_up(Settings(), worker=own_name())  # before `worker.app`, which looks for devices when it is imported

    tracing.set_up(f"rdrkd-worker-{options.queue}")
    from worker.app import place
    from worker.claim_loop import ClaimLoop
    from worker.presence import Beating
    from worker.watchdog import Watchdog
    from worker.work import CLAIMS

    loop = ClaimLoop(place, CLAIMS[options.queue])
    with Beating(place, options.queue), Watchdog(place, loop), loop:
        status = _listen(options.queue)
        if place.draining.is_set():
            return 0
        log.critical("Celery ended with status %d: this worker exits after its job, to be restarted", status)
        return status or ENDED_BY_ITSELF


def _listen(queue: str) -> int:
    """Receive wake-up messages through Celery until it ends; return its status."""
    from worker.app import app

    name = f"{queue}-{os.getpid()}@%h"
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    one_thread = ["-P", "threads", "-c", "1"]
    try:
        ended: object = app.worker_main(["--quiet", "worker", *one_thread, "-Q", queue, "-n", name, *quiet])
    except SystemExit as error:
        ended = error.code
    except Exception:
        log.exception("Celery failed")
        ended = None
    return ended if isinstance(ended, int) else 0


if __name__ == "__main__":
    sys.exit(main())
