"""The environment that a trainer process needs before Ultralytics is imported. No torch here."""

import os
import tempfile
from pathlib import Path


def defaults(config_dir: Path) -> dict[str, str]:
    """Give the variables that keep Ultralytics from running strangers' code and from calling home.

    Args:
        config_dir: a private folder for its settings file and matplotlib's.
    """
    return {
        "ULTRALYTICS_SAFE_LOAD": "1",  # checkpoints: weights_only and an allow-list of classes
        "YOLO_AUTOINSTALL": "False",  # never pip-install what a checkpoint names
        "YOLO_OFFLINE": "True",  # no analytics, no version checks
        "YOLO_CONFIG_DIR": str(config_dir),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(config_dir),  # its font list; else it goes to the home, a worker's run folder
    }


def apply() -> None:
    """Set what is not set yet; called before the first import of Ultralytics."""
    private = Path(tempfile.gettempdir()) / f"rdrkd-ultralytics-{os.getuid()}"
    for key, value in defaults(private).items():
        os.environ.setdefault(key, value)
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)
