"""The only reader of pixels, for checks, training, evaluation, calibration and pictures alike.

OpenCV decodes, as in plain Ultralytics, and Pillow what OpenCV cannot (such as TIFF with Zstandard). Images with more
than 8 bits per channel, as from thermal cameras, are scaled by one range for the whole dataset.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageOps

from rdrkd.data.images import ImageFault, open_image, size_of, without_xmp

Pixels = npt.NDArray[np.uint8]
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5  # of the values of a dataset's deep images
_SAMPLE = 4096  # values sampled per image to measure a dataset's range
_PNG, _TIFF = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _FORMAT, _NO_DATA = 258, 339, 42113  # TIFF's tags BitsPerSample and SampleFormat, and GDAL's NODATA
_SIGNED = {2, 3}  # sample formats: signed integers, floating point
_MISSING = (-9999.0, -32768.0)  # by convention, even without the tag
_LARGEST = 1e30  # larger values are markers, such as the largest 32-bit float
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # Pillow tries what it cannot decode


@dataclass(frozen=True)
class Scaling:
    """The linear scaling of deep images to 8 bits: `low` and below become 0, `high` and above 255."""

    low: float
    high: float

    def apply(self, values: npt.NDArray[np.generic]) -> Pixels:
        """Return values scaled to 8 bits; NaN becomes 0."""
        shares = (values.astype(np.float64) - self.low) / (self.high - self.low)
        return np.rint(255 * np.clip(np.nan_to_num(shares, nan=0.0), 0, 1)).astype(np.uint8)


def read(path: Path, scaling: Scaling | None = None) -> Pixels:
    """Return an image, upright, as (H, W, 3) in blue, green, red.

    Args:
        path: the file.
        scaling: the scaling of the image's dataset; without one, a deep image is refused.

    Raises:
        ImageFault: it cannot be decoded, or it is deep and there is no scaling.
    """
    values = _values(path)
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if scaling is None:
        raise ImageFault(f"expected 8 bits a channel, got {values.dtype} and no range to scale it by")
    return scaling.apply(values)


def is_deep(path: Path) -> bool:
    """Return whether an image's header declares values beyond 0 to 255; False for a file that is not an image."""
    try:
        with path.open("rb") as stream:
            head = stream.read(32)
        if head.startswith(_PNG):
            return len(head) > 24 and head[24] > 8
        if not head.startswith(_TIFF):
            return False
        with open_image(path) as image:
            tags = getattr(image, "tag_v2", {})
            bits, formats = (tags.get(tag, 1) for tag in (_BITS, _FORMAT))
            signed = set(formats if isinstance(formats, tuple) else (formats,)) & _SIGNED
            return bool(signed) or bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    except (OSError, ValueError, TypeError, SyntaxError, struct.error):
        return False


def scaling_of(images: Sequence[Path]) -> Scaling | None:
    """Return the range by which a dataset's deep images are scaled; None if there are none.

    It spans the percentiles 0.5 to 99.5 of a sample of each image's values, the same on every machine. Markers of
    missing values are excluded, as they would leave only a few grey levels for all others.
    """
    samples = []
    for path in images:
        if not is_deep(path):
            continue
        try:
            values = _values(path)
        except ImageFault:
            continue  # the check reports it
        if values.dtype != np.uint8:
            flat = values.reshape(-1)
            samples.append(_measured(flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64), path))
    if not samples:
        return None
    pooled = np.concatenate(samples)
    if not pooled.size:
        return Scaling(0.0, 1.0)
    low, high = (float(np.percentile(pooled, share)) for share in (LOW_PERCENTILE, HIGH_PERCENTILE))
    return Scaling(low, high if high > low else low + 1.0)


def _measured(values: npt.NDArray[np.float64], path: Path) -> npt.NDArray[np.float64]:
    """Return an image's values without markers of missing ones."""
    with np.errstate(invalid="ignore"):
        sound = np.isfinite(values) & (np.abs(values) < _LARGEST)
    for mark in (*_MISSING, *_declared_missing(path)):
        sound &= values != mark
    return values[sound]


def _declared_missing(path: Path) -> tuple[float, ...]:
    try:
        with open_image(path) as image:
            return (float(str(getattr(image, "tag_v2", {})[_NO_DATA]).strip(" \0")),)
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, struct.error):
        return ()


def _values(path: Path) -> npt.NDArray[np.generic]:
    """Return an image's values, upright, as (H, W, 3) in blue, green, red, at the file's bit depth.

    Raises:
        ImageFault: it cannot be decoded, or decodes to another size than its header declares.
    """
    width, height = size_of(path)
    try:
        values = _by_opencv(path)
        if values is None:
            values = _by_pillow(path)
    except MemoryError:
        raise
    except Exception as error:  # decoders can raise anything on invalid data
        raise ImageFault(f"expected an image that can be decoded, got: {str(error)[:200]}") from error
    if values.shape[:2] != (height, width):
        came = f"{values.shape[1]}x{values.shape[0]}"
        raise ImageFault(f"expected {width}x{height} px, as its header says, got {came}")
    return values


def _by_opencv(path: Path) -> npt.NDArray[np.generic] | None:
    data = np.fromfile(path, np.uint8)
    if not data.size:
        return None
    try:
        values = cv2.imdecode(data, _FLAGS)
    except cv2.error:
        return None
    return None if values is None else _three_channels(values)


def _by_pillow(path: Path) -> npt.NDArray[np.generic]:
    with open_image(path) as opened:
        image = ImageOps.exif_transpose(without_xmp(opened))
        deep = image.mode.startswith(("I", "F"))
        values = np.asarray(image if deep else image.convert("RGB"))
    return _three_channels(values if values.ndim == 2 else values[..., ::-1])


def _three_channels(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[2] == 3:
        return np.ascontiguousarray(values)
    return np.ascontiguousarray(np.repeat(values[..., :1], 3, axis=2))
