"""The environment that a trainer process needs before Ultralytics is imported. No torch here."""

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

LIMITS = "RDRKD_LIMITS"  # resource limits of an upload's inspection, as JSON (`rdrkd.run.inspection.limit_resources`)


def defaults(config_dir: Path) -> dict[str, str]:
    """Return the variables that keep Ultralytics from running untrusted code and from sending telemetry.

    Args:
        config_dir: a private folder for its settings file and matplotlib's.
    """
    return {
        "ULTRALYTICS_SAFE_LOAD": "1",  # checkpoints: weights_only and an allow-list of classes
        "YOLO_AUTOINSTALL": "False",  # never pip-install what a checkpoint names
        "YOLO_OFFLINE": "True",  # no analytics, no version checks
        "YOLO_CONFIG_DIR": str(config_dir),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(config_dir),  # font list; else written to the home folder, in a worker the run folder
    }


def apply() -> None:
    """Set the variables that are not set yet; called before the first import of Ultralytics."""
    if "YOLO_CONFIG_DIR" not in os.environ:
        # An unpredictable name: a symbolic link that another user planted there would be followed.
        private = tempfile.mkdtemp(prefix="rdrkd-ultralytics-")
        atexit.register(_remove, private, os.getpid())
        os.environ["YOLO_CONFIG_DIR"] = private
    for key, value in defaults(Path(os.environ["YOLO_CONFIG_DIR"])).items():
        os.environ.setdefault(key, value)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # "building the font cache"
    Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)


def warns(record: logging.LogRecord) -> bool:
    """Return whether a message is at least a warning: a filter for a library's chatter."""
    return record.levelno >= logging.WARNING


def _remove(folder: str, made_by: int) -> None:
    if os.getpid() == made_by:  # not in a forked child, which ends earlier
        shutil.rmtree(folder, ignore_errors=True)
