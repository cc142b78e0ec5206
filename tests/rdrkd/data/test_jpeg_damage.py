"""A JPEG that has lost pixels is refused by name, however its file was filled up; harmless bytes are not damage."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rdrkd.data.images import ImageFault, decode
from rdrkd.data.reading import Reading
from tests.rdrkd.data.crafted import make_dataset, zip_up
from tests.rdrkd.data.loading import the_same_everywhere

ENCODED: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "full colours": ("RGB", {"subsampling": 0}),
    "own tables": ("RGB", {"optimize": True}),
    "progressive": ("RGB", {"progressive": True}),
    "restarts": ("RGB", {"restart_marker_blocks": 4}),
    "grey": ("L", {}),
    "four colours": ("CMYK", {}),
}
END = b"\xff\xd9"
DAMAGE: dict[str, Callable[[bytes, int], bytes]] = {  # of a whole file and the place where it was cut
    "cut": lambda whole, at: whole[:at],
    "filled with zeros": lambda whole, at: whole[:at].ljust(len(whole), b"\0"),
    "filled with ones": lambda whole, at: whole[:at].ljust(len(whole), b"\xff"),
    "ended": lambda whole, at: whole[:at] + END,
    "filled and ended": lambda whole, at: whole[:at].ljust(len(whole) - 2, b"\0") + END,
    "a hole": lambda whole, at: whole[: at - 3000] + bytes(3000) + whole[at:],
}
HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "whole": lambda whole: whole,
    "zeros behind its end": lambda whole: whole + bytes(99),
    "another image behind its end": lambda whole: whole + whole,
    "aligned before its end": lambda whole: whole[:-2] + bytes(32) + END,
}


def encoded(kind: str) -> bytes:
    """Return a picture in which no part is like another."""
    mode, how = ENCODED[kind]
    noise = np.random.default_rng(3).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((320, 240)).convert(mode).save(file, "JPEG", **how)
    return file.getvalue()


@pytest.mark.parametrize("kind", ENCODED)
def test_damage_is_told_from_harmless_bytes(tmp_path: Path, kind: str) -> None:
    file, whole = tmp_path / "a.jpg", encoded(kind)
    for change in HARMLESS.values():
        file.write_bytes(change(whole))
        assert decode(file) == (320, 240)
    for what, harm in DAMAGE.items():
        for share in (0.4, 0.6, 0.8):
            file.write_bytes(harm(whole, int(len(whole) * share)))
            with pytest.raises(ImageFault, match="expected a whole image"):
                pytest.fail(f"{what} at {share} gave {decode(file)}")


@pytest.mark.parametrize("lenient", [False, True])
def test_a_damaged_jpeg_is_named_or_dropped(tmp_path: Path, lenient: bool) -> None:
    root, whole = make_dataset(tmp_path / "d"), encoded("baseline")
    (root / "images/train/b.jpg").write_bytes(DAMAGE["ended"](whole, len(whole) // 2))
    (root / "labels/train/b.txt").write_text("0 .5 .5 .2 .2\n")
    report = the_same_everywhere(zip_up(root, tmp_path / "a.zip"), tmp_path, Reading(lenient))
    (fault,) = report["dropped"]["listed"] if lenient else report["problems"]
    assert (report["ok"], fault["where"]) == (lenient, "images/train/b.jpg")
    assert "got a damaged JPEG: Corrupt JPEG data: premature end of data segment" in fault["detail"]
