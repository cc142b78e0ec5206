"""Detect damaged JPEGs: libjpeg fills in missing data and only warns, and Pillow and OpenCV hide the warnings."""

import re

import simplejpeg

_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG file")  # prefixes of libjpeg's warnings about lost pixels
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MOST_PADDING = 512  # bytes that encoders of cameras align their data with


def damage(data: bytes) -> str | None:
    """Return libjpeg's warning about damaged or missing pixels of a JPEG; None if it decodes all of them.

    Also None for variants that libjpeg-turbo does not decode.
    """
    try:
        *_, colours, _ = simplejpeg.decode_jpeg_header(data)
        into = "CMYK" if colours in ("CMYK", "YCCK") else "GRAY"
        # An eighth of the resolution still reads every coefficient, and is three times as fast.
        simplejpeg.decode_jpeg(data, into, min_width=1, min_height=1, min_factor=8, strict=True)
    except ValueError as error:
        said = str(error)
        padding = _PADDING.match(said)
        if padding is not None and int(padding[1]) <= _MOST_PADDING:
            return None
        return said if said.startswith(_DAMAGE) else None
    return None
