"""Start a worker: `python -m worker --queue train`, one per GPU, or `python -m worker --queue inspect`."""

import argparse
import os

from api.queue import INSPECT, TRAIN


def main() -> None:
    """Run the Celery worker of one queue until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--queue", choices=[TRAIN, INSPECT], required=True, help="what to work on")
    parser.add_argument("--log-level", default="INFO", help="DEBUG, INFO, WARNING, ERROR")
    options = parser.parse_args()

    from worker.app import app, place  # reads the settings: after `--help`
    from worker.presence import Beating

    name = f"{options.queue}-{os.getpid()}@%h"
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    one_thread = ["-P", "threads", "-c", "1"]
    with Beating(place, options.queue):
        app.worker_main(["worker", *one_thread, "-Q", options.queue, "-n", name, "-l", options.log_level, *quiet])


if __name__ == "__main__":
    main()
