"""Optional real data and weights outside the project."""

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parent.parent


def find(name: str) -> Path | None:
    """Return the path of the shared file `name` (such as `data/hit_uav_tiny.zip`), or None if it is absent.

    The folder is `RDRKD_SHARED`, or else `shared` next to the repository.
    """
    root = Path(os.environ.get("RDRKD_SHARED") or _REPOSITORY.parent / "shared")
    path = root / name
    return path if path.exists() else None


def need(name: str) -> Path:
    """Return the path of the shared file `name`; skip the test if it is absent, because it needs real data."""
    path = find(name)
    if path is None:
        pytest.skip(f"needs the real {name} (set RDRKD_SHARED)")
    return path
