"""Which image files are read, and a full decode of one, as a check."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from rdrkd import suffixes
from rdrkd.misnamed import head_of, placeholder

# Pillow's decoders for these suffixes; JPEG includes MPO, a JPEG with a preview inside, as many drone cameras write.
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 120_000_000  # the largest drone cameras take 100 megapixels
MIN_SIDE = 10  # Ultralytics drops anything smaller
Image.init()  # registers all decoders; by itself Pillow does so piece by piece, as it meets files
_TURNED = {5, 6, 7, 8}  # EXIF orientations that swap width and height on screen


class ImageFault(Exception):
    """The file is no image that can be trained on; the message says why."""


def is_image(path: Path) -> bool:
    """Return whether the name is an image's.

    >>> is_image(Path("a/b.JPG")), is_image(Path("a/._b.jpg"))
    (True, False)
    """
    return path.suffix.lower() in suffixes.IMAGES and not path.name.startswith(".")


def decode(path: Path) -> tuple[int, int]:
    """Decode an image from its first to its last pixel and give (width, height) in px as its EXIF orientation shows it.

    Raises:
        ImageFault: the file cannot be trained on.
    """
    return _open(path, pixels=True)


def size_of(path: Path) -> tuple[int, int]:
    """Return the same (width, height) by the image's header alone.

    Raises:
        ImageFault: the header says that the file cannot be trained on.
    """
    return _open(path, pixels=False)


def _open(path: Path, pixels: bool) -> tuple[int, int]:
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            _check_size(width, height)  # before the pixels are unpacked
            if pixels:
                image.load()
            # Pillow turns a TIFF as it opens it, every other format only when asked.
            turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in _TURNED
    except (ImageFault, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageFault(f"expected at most {MAX_PIXELS} pixels, got more") from error
    except Exception as error:  # decoders that are fed garbage raise whatever they like
        # Once Ultralytics is imported, Image.open looks for a further decoder where none fits: hence the ImportError.
        unknown = isinstance(error, UnidentifiedImageError | ImportError)
        got = _content(path) if unknown else f"one that cannot be decoded: {error}"
        raise ImageFault(f"expected a whole image ({', '.join(FORMATS)}), got {got}") from error
    return (height, width) if turned else (width, height)


def _content(path: Path) -> str:
    """Return what a file is that no decoder knows."""
    try:
        found = placeholder(head_of(path))
    except OSError as error:
        return error.strerror or str(error)
    return "no known image format" if found is None else f"{found[0]}; {found[1]}"


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence, in the whole process, Pillow's warnings on damaged EXIF and large sizes: `decode` judges them itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageFault(f"expected at most {MAX_PIXELS} pixels, got {width}x{height}")
    if min(width, height) < MIN_SIDE:
        raise ImageFault(f"expected sides of at least {MIN_SIDE} px, got {width}x{height}")
