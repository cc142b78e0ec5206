"""`python -m api`: see `api.http.command`."""

import sys

from api.http.command import main
from rdrkd.process.secret_hiding import seal

if __name__ == "__main__":
    seal()
    sys.exit(main())
