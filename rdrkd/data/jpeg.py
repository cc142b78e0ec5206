"""Small JPEG copies of images for display."""

import cv2

from rdrkd.data.pixels import Pixels


def small_jpeg(pixels: Pixels, longest: int, quality: int) -> bytes:
    """Return an image (H, W, 3) as a JPEG whose longer side has at most `longest` px, the shorter at least 1."""
    height, width = pixels.shape[:2]
    factor = min(1.0, longest / max(height, width))
    size = [max(1, round(side * factor)) for side in (width, height)]
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if factor < 1 else pixels
    return bytes(cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
