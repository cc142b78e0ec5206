"""`python -m tests.faults`: a seeded run under faults; exits with 1 where an invariant does not hold."""

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.faults import sandbox
from tests.faults.run import BACKENDS, Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--backend", choices=[*BACKENDS, "both", "all"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--kinds", nargs="*", default=[], help="faults to inject; default: all that can be here")
    parser.add_argument("--workers", type=int, default=Plan.workers, help="that train")
    parser.add_argument("--pause", type=float, default=Plan.pause, help="mean seconds between two faults")
    parser.add_argument("--least", type=int, default=Plan.least, help="faults; there is work until there were so many")
    parser.add_argument("--claims-within", type=float, default=Plan.claims_within, help="seconds after the last fault")
    parser.add_argument("--json", type=Path, help="write the summary to this folder, a file per backend and seed")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is ended
    if (status := sandbox.enter(sys.argv[1:])) is not None:
        return status
    well = True
    names = ("kinds", "pause", "workers", "least", "claims_within")
    shape = {name: getattr(options, name) for name in names}
    several = {"both": ["embedded", "servers"], "all": list(BACKENDS)}
    for backend in several.get(options.backend, [options.backend]):
        account = run(Plan(backend, options.seed, options.jobs, **shape))
        for name, log in account.logs.items():
            print(f"== {name}\n{log}", file=sys.stderr)
        print(json.dumps(account.summary, indent=2))
        if options.json is not None:
            path = options.json / f"faults-{backend}-{options.seed}.json"
            path.write_text(json.dumps(account.summary, indent=2) + "\n")
        well = well and not account.violations
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
