"""Damage in JPEGs: libjpeg fills in what a file lacks and only warns, which Pillow and OpenCV keep to themselves."""

import re

import simplejpeg

_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG file")  # how libjpeg's warnings about lost pixels begin
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MOST_PADDING = 512  # bytes that encoders of cameras align their data with


def damage(data: bytes) -> str | None:
    """Return what libjpeg says of a JPEG whose pixels are damaged or missing; None if it decodes them all.

    Also None for kinds that libjpeg-turbo does not decode.
    """
    try:
        *_, colours, _ = simplejpeg.decode_jpeg_header(data)
        into = "CMYK" if colours in ("CMYK", "YCCK") else "GRAY"
        # Every coefficient is read, but an eighth of the resolution is enough to be warned, and three times as fast.
        simplejpeg.decode_jpeg(data, into, min_width=1, min_height=1, min_factor=8, strict=True)
    except ValueError as error:
        said = str(error)
        padding = _PADDING.match(said)
        if padding is not None and int(padding[1]) <= _MOST_PADDING:
            return None
        return said if said.startswith(_DAMAGE) else None
    return None
