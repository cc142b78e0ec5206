"""The supported image files, and a full decode of one as a check."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from rdrkd import suffixes
from rdrkd.data.jpeg_damage import damage
from rdrkd.file_signatures import head_of, placeholder

# Pillow's decoders for these suffixes; JPEG includes MPO, a JPEG with an embedded preview, common on drone cameras.
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
_JPEGS = ("JPEG", "MPO")
MAX_PIXELS = 120_000_000  # the largest drone cameras take 100 megapixels
MIN_SIDE = 10  # Ultralytics drops anything smaller
Image.init()  # registers all decoders; else Pillow does so on demand
_FLOATS = "a TIFF that Pillow cannot read, such as one of 64-bit or several floating-point channels"
_UNREAD = (  # offset, signature and name of recognised, but unsupported images
    (0, b"II*\0", _FLOATS), (0, b"MM\0*", _FLOATS), (0, b"II+\0", _FLOATS), (0, b"MM\0+", _FLOATS),
    (0, b"GIF8", "a GIF"), (0, b"%PDF", "a PDF"), (0, b"\x93NUMPY", "a NumPy array"),
    (4, b"jP  \r\n", "a JPEG 2000 image"), (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (4, b"ftypavif", "an AVIF image"), (4, b"ftypheic", "a HEIC image"), (4, b"ftypmif1", "a HEIF image"),
)  # fmt: skip
_TURNED = {5, 6, 7, 8}  # EXIF orientations that swap width and height on screen


class ImageFault(Exception):
    """The file is not an image that can be trained on; the message tells why."""


def is_image(path: Path) -> bool:
    """Return whether a name is that of an image.

    >>> is_image(Path("a/b.JPG")), is_image(Path("a/._b.jpg"))
    (True, False)
    """
    return path.suffix.lower() in suffixes.IMAGES and not path.name.startswith(".")


def decode(path: Path) -> tuple[int, int]:
    """Decode an image completely and return (width, height) in px after applying its EXIF orientation.

    Raises:
        ImageFault: the file cannot be trained on.
    """
    return _open(path, pixels=True)


def size_of(path: Path) -> tuple[int, int]:
    """Return the same (width, height) from the image's header only.

    Raises:
        ImageFault: the header shows that the file cannot be trained on.
    """
    return _open(path, pixels=False)


def open_image(path: Path) -> Image.Image:
    """Open an image with Pillow.

    Raises:
        UnidentifiedImageError: none of its decoders knows the file.
        OSError: it cannot be read.
    """
    try:
        return Image.open(path, formats=FORMATS)
    except ImportError as error:  # once imported, Ultralytics makes Pillow look for a decoder that is not installed
        raise UnidentifiedImageError(f"cannot identify image file {path.name!r}") from error


def _open(path: Path, pixels: bool) -> tuple[int, int]:
    try:
        with open_image(path) as image:
            width, height = image.size
            _check_size(width, height)  # before decoding the pixels
            if pixels:
                image.load()
                if image.format in _JPEGS and (found := damage(path.read_bytes())) is not None:
                    raise ImageFault(f"expected a whole image, got a damaged JPEG: {found}")
            # Pillow applies the orientation of a TIFF on opening, that of other formats only on request.
            turned = image.format != "TIFF" and _orientation(image) in _TURNED
    except (ImageFault, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageFault(f"expected at most {MAX_PIXELS} pixels, got more") from error
    except UnidentifiedImageError as error:
        raise ImageFault(f"expected a whole image ({', '.join(FORMATS)}), got {_content(path)}") from error
    except Exception as error:  # decoders can raise anything on invalid data
        got = f"one that cannot be decoded: {error}"
        raise ImageFault(f"expected a whole image ({', '.join(FORMATS)}), got {got}") from error
    return (height, width) if turned else (width, height)


def without_xmp(image: Image.Image) -> Image.Image:
    """Load an image without the orientation in its XMP, which Pillow applies and OpenCV does not."""
    image.load()
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)
    return image


def _orientation(image: Image.Image) -> int | None:
    image.getexif()  # a PNG may have its EXIF after its pixels
    exif = Image.Exif()
    exif.load(image.info.get("exif") or b"")
    return exif.get(ExifTags.Base.Orientation)


def _content(path: Path) -> str:
    """Describe a file that no decoder recognises."""
    try:
        head = head_of(path)
    except OSError as error:
        return error.strerror or str(error)
    if (left := placeholder(head)) is not None:
        return left
    kind = next((kind for at, mark, kind in _UNREAD if head[at : at + len(mark)] == mark), None)
    return f"{kind}; convert it" if kind is not None else "no known image format"


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
