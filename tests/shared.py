"""Real data and weights that lie outside the project: found when they are there, done without when they are not."""

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parent.parent


def find(name: str) -> Path | None:
    """Return the path of the shared file `name` (such as `data/hit_uav_tiny.zip`), or None where it is absent.

    The folder is `RDRKD_SHARED`, else `shared` beside the repository.
    """
    root = Path(os.environ.get("RDRKD_SHARED") or _REPOSITORY.parent / "shared")
    path = root / name
    return path if path.exists() else None


def need(name: str) -> Path:
    """Return the path of the shared file `name`; skip the test where it is absent (real data is its very point)."""
    path = find(name)
    if path is None:
        pytest.skip(f"needs the real {name} (set RDRKD_SHARED)")
    return path
