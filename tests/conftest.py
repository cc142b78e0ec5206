"""Shared test configuration: a quiet, isolated Ultralytics, few threads, the GPU marker, and the order."""

import atexit
import gc
import os
import shutil
import tempfile
import time

import pytest

# Imported here once: if each folder imported a fixture, each would start separate servers.
from tests.s3 import s3, strict_s3
from tests.servers import backend, postgres, valkey_server

__all__ = ["backend", "postgres", "s3", "strict_s3", "valkey_server"]

# Set before torch or Ultralytics is imported. Small models on small images do not profit from more threads, which slow
# down concurrent test processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(ULTRALYTICS_SAFE_LOAD="1", YOLO_AUTOINSTALL="False", YOLO_OFFLINE="True")
if "YOLO_CONFIG_DIR" not in os.environ:
    _config = tempfile.mkdtemp(prefix="rdrkd-tests-")
    atexit.register(shutil.rmtree, _config, ignore_errors=True)
    os.environ["YOLO_CONFIG_DIR"] = _config


# Minutes after which no further test begins: a slow CI machine then reports what it has run, and is not stopped.
END = time.monotonic() + 60 * float(os.environ.get("TEST_MINUTES", "inf"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)  # the default tests first


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # Ultralytics collects garbage several times per training, and should not search all of torch each time


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() > END:
        pytest.skip("not run: TEST_MINUTES are over")
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
