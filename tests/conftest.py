"""What all tests share: a quiet and private Ultralytics, few threads, and the GPU marker."""

import atexit
import gc
import os
import shutil
import tempfile

import pytest

# Once for all: a fixture that each folder imports for itself would start its own servers.
from tests.s3 import s3, strict_s3
from tests.servers import backend, postgres, valkey_server

__all__ = ["backend", "postgres", "s3", "strict_s3", "valkey_server"]

# Before anything imports torch or Ultralytics. Small models on small images gain nothing from more threads, and test
# processes side by side lose to them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(ULTRALYTICS_SAFE_LOAD="1", YOLO_AUTOINSTALL="False", YOLO_OFFLINE="True")
if "YOLO_CONFIG_DIR" not in os.environ:
    _config = tempfile.mkdtemp(prefix="rdrkd-tests-")
    atexit.register(shutil.rmtree, _config, ignore_errors=True)
    os.environ["YOLO_CONFIG_DIR"] = _config


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # Ultralytics collects garbage several times a training, and need not search all of torch each time


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
