"""Draw the demo data that the console's Home offers on an empty service: the scenes of `rdrkd demo`, as a small zip.

Usage: `python tools/draw_demo_scenes.py`. The wheel contains the zip, because an API image cannot draw the scenes.
"""

import io
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

from rdrkd.data.scenes import write_scenes

TARGET = Path(__file__).resolve().parents[1] / "api" / "console" / "demo-scenes.zip"
SCENES = {"train": 128, "val": 32}
IMGSZ, SEED = 160, 0  # px; as in `rdrkd demo`
QUALITY = 45  # of the WebP images: 1.5 kB per scene instead of 9 kB
EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip's earliest time: the same scenes give the same file


def draw(target: Path) -> None:
    """Write the zip."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        scenes = Path(folder, "scenes")
        write_scenes(scenes, "demo", SCENES, IMGSZ, SEED, {"yolo"})
        for file in sorted(path for path in scenes.rglob("*") if path.is_file()):
            name, content = file.relative_to(scenes), file.read_bytes()
            if file.suffix == ".jpg":
                packed = io.BytesIO()
                Image.open(file).save(packed, "WEBP", quality=QUALITY, method=6)
                name, content = name.with_suffix(".webp"), packed.getvalue()
            made.writestr(zipfile.ZipInfo(str(name), EARLIEST), content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    draw(TARGET)
