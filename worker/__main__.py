"""Start a worker: `python -m worker --queue train`, one per GPU, or `python -m worker --queue inspect`."""

import argparse
import os

from api import journal, tracing
from api.queue import INSPECT, TRAIN
from api.settings import Settings
from rdrkd.sealing import seal
from worker.workplace import own_name


def main() -> None:
    """Run the Celery worker of one queue until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--queue", choices=[TRAIN, INSPECT], required=True, help="what to work on")
    options = parser.parse_args()
    seal()

    journal.set_up(Settings(), worker=own_name())  # first: the app looks for devices when it is imported

    tracing.set_up(f"rdrkd-worker-{options.queue}")
    from worker.app import app, place
    from worker.presence import Beating

    name = f"{options.queue}-{os.getpid()}@%h"
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    one_thread = ["-P", "threads", "-c", "1"]
    with Beating(place, options.queue):
        app.worker_main(["--quiet", "worker", *one_thread, "-Q", options.queue, "-n", name, *quiet])


if __name__ == "__main__":
    main()
