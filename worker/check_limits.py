"""Time and memory limits of an upload's check, in proportion to the file, so that small files take little of both.

The settings are upper bounds. Within them, a check may take `LEAST_SECONDS` plus a second per `BYTES_PER_SECOND`, and
use `LEAST_BYTES` of memory plus `MEMORY_PER_BYTE` for each byte of the file.
"""

from api.settings import Settings

LEAST_SECONDS = 180.0  # importing torch on a busy machine takes tens of seconds
BYTES_PER_SECOND = 2**20  # images are decoded, and archives unpacked, at 10 to 100 times that
LEAST_BYTES = 3 * 2**30  # of private memory, of which importing torch takes 1 GiB
MEMORY_PER_BYTE = 8  # a half-precision checkpoint is read, built in full precision and written in both formats


def of(settings: Settings, size: int) -> dict[str, int]:
    """Return the limits for a file of `size` bytes, in the form that `rdrkd.run.inspection.limit_resources` takes."""
    return {
        "memory_bytes": memory_bytes(settings, size),
        "cpu_seconds": int(seconds(settings, size)) + 1,
        "file_bytes": settings.inspect_file_bytes,
    }


def seconds(settings: Settings, size: int) -> float:
    """Return the wall time, and the processor time, that the check of a file of `size` bytes may take.

    >>> settings = Settings()
    >>> seconds(settings, 3 * 2**20), seconds(settings, 20 * 2**30)
    (183.0, 1800.0)
    """
    return min(settings.inspect_timeout_seconds, LEAST_SECONDS + size / BYTES_PER_SECOND)


def memory_bytes(settings: Settings, size: int) -> int:
    """Return the private memory that the check of a file of `size` bytes may take.

    >>> memory_bytes(Settings(), 2**20) >> 20, memory_bytes(Settings(), 2 * 2**30) >> 30
    (3080, 8)
    """
    return min(settings.inspect_memory_bytes, LEAST_BYTES + MEMORY_PER_BYTE * size)
