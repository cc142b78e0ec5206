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
    parser.add_argument("--backend", choices=[*BACKENDS, "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--kinds", nargs="*", default=[], help="faults to inject; default: all that can be here")
    parser.add_argument("--json", type=Path, help="write the summary to this folder, a file per backend and seed")
    options = parser.parse_args()
    if (status := sandbox.enter(sys.argv[1:])) is not None:
        return status
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is ended
    well = True
    for backend in BACKENDS if options.backend == "both" else [options.backend]:
        account = run(Plan(backend, options.seed, options.jobs, kinds=options.kinds))
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
