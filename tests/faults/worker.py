"""`python -m tests.faults.worker --queue train`: the real worker, whose trainers simulate.

The command is replaced before anything has imported it; nothing else of the worker knows.
"""

import sys
from pathlib import Path

from worker import process

process.RDRKD = (sys.executable, str(Path(__file__).with_name("trainer.py")))

if __name__ == "__main__":
    from worker.__main__ import main

    sys.exit(main())
