"""What a library prints of its own accord does not reach a user's terminal."""

import logging
import os
import subprocess
import sys

import pytest

from rdrkd.process import environment

PROFILE = """
import rdrkd.ultralytics_adapter
from torch.profiler import ProfilerActivity, profile
with profile(activities=[ProfilerActivity.CPU], profile_memory=True):
    pass
"""


@pytest.mark.slow
def test_neither_ultralytics_first_import_nor_the_profiler_prints() -> None:
    """Import Ultralytics with a new settings folder, and profile: both streams stay empty."""
    noisy = {"YOLO_CONFIG_DIR", "YOLO_VERBOSE", "KINETO_LOG_LEVEL", "MPLCONFIGDIR"}
    child = {key: value for key, value in os.environ.items() if key not in noisy}
    done = subprocess.run([sys.executable, "-c", PROFILE], env=child, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_matplotlib_does_not_announce_its_font_cache() -> None:
    """Its notice is a warning, which would stand between a user's figures."""
    environment.apply()
    assert not logging.getLogger("matplotlib.font_manager").isEnabledFor(logging.WARNING)
