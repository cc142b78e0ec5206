"""A preview of a dataset: a few images with their boxes, to see at a glance whether they fit."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rdrkd.data import coco, yolo
from rdrkd.data.dataset import Dataset
from rdrkd.data.frames import Box, Frame
from rdrkd.data.images import size_of
from rdrkd.data.pixels import Pixels

COLUMNS, MOST = 3, 6  # images
_SIDE = 480  # px of the longer side of a drawn image
_GAP, _LINE = 8, 16  # px
_QUALITY = 85  # of the JPEG
_CANDIDATES = 200  # images searched for boxes
_COLOURS = (
    "#ff4040", "#20a0ff", "#ffdc20", "#60ff60", "#ff60ff", "#40ffff", "#ff9020", "#a080ff", "#b0e060", "#ffb0c0",
)  # fmt: skip
_IGNORED = "#c0c0c0"


def draw(dataset: Dataset, target: Path) -> Path:
    """Write a JPEG of up to MOST images, spread over the splits, with boxes by class; cross out ignored boxes.

    Args:
        dataset: a valid dataset.
        target: the file.
    """
    share = -(-MOST // len(dataset.splits))
    cells = [
        _cell(f"{split}: {image.name}", dataset.read(image), frame)
        for split in dataset.splits
        for image, frame in _chosen(dataset, split, share)
    ][:MOST]
    sheet = _sheet(cells)
    _legend(sheet, dataset.names)
    sheet.save(target, "JPEG", quality=_QUALITY, subsampling=0)  # keeps the colours of thin lines
    return target


def colour_of(label: int) -> str:
    """Return the colour of a class; colours repeat."""
    return _COLOURS[label % len(_COLOURS)]


def _chosen(dataset: Dataset, split: str, number: int) -> list[tuple[Path, Frame]]:
    """Choose images spread over a split, those with boxes first."""
    images = dataset.images(split)
    looked_at = images[:: max(1, len(images) // _CANDIDATES)][:_CANDIDATES]
    ignored = ignored_of(dataset, split)
    labels = {image: dataset.label(image) for image in looked_at}
    filled = [image for image, label in labels.items() if label.is_file() and label.stat().st_size]
    found = filled or looked_at
    chosen = found[:: max(1, len(found) // number)][:number]
    return [(image, frame_of(dataset, image, ignored.get(image, ()))) for image in chosen]


def ignored_of(dataset: Dataset, split: str) -> dict[Path, tuple[Box, ...]]:
    """Return the boxes of a split's images that evaluation ignores."""
    if split not in dataset.annotations:
        return {}
    frames = coco.read(dataset.annotations[split], dataset.names)
    images = dataset.matching(split).match([frame.file for frame in frames])
    return {
        image: tuple(box for box in frame.boxes if box.ignored)
        for frame, image in zip(frames, images, strict=True)
        if not isinstance(image, str)
    }


def frame_of(dataset: Dataset, image: Path, ignored: Sequence[Box]) -> Frame:
    """Return an image's size and boxes, including the ignored ones."""
    width, height = size_of(image)
    labelled = yolo.read(dataset.label(image), image.name, width, height, len(dataset.names))
    return Frame(image.name, width, height, (*labelled.boxes, *ignored))


def _cell(title: str, image: Pixels, frame: Frame) -> Image.Image:
    """Draw an image with its boxes below its title."""
    shown = Image.fromarray(image[..., ::-1])
    factor = _SIDE / max(frame.width, frame.height)
    shown = shown.resize((max(1, round(frame.width * factor)), max(1, round(frame.height * factor))))
    canvas = ImageDraw.Draw(shown)
    for box in frame.boxes:
        corners = [v * factor for v in (box.x, box.y, box.x + box.width, box.y + box.height)]
        if box.ignored or box.label is None:
            canvas.rectangle(corners, outline=_IGNORED)
            canvas.line(corners, fill=_IGNORED)
        else:
            canvas.rectangle(corners, outline=colour_of(box.label))
    cell = Image.new("RGB", (_SIDE, shown.height + _LINE), "white")
    cell.paste(shown, (0, _LINE))
    ImageDraw.Draw(cell).text((2, 1), _printable(title), fill="black", font=_font())
    return cell


def _sheet(cells: Sequence[Image.Image]) -> Image.Image:
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    heights = [max(cell.height for cell in row) + _GAP for row in rows]
    width = max(len(row) for row in rows) * (_SIDE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, sum(heights) + _LINE + 2 * _GAP), "white")
    top = _LINE + 2 * _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (_GAP + column * (_SIDE + _GAP), top))
        top += height
    return sheet


def _legend(sheet: Image.Image, names: Sequence[str]) -> None:
    """Write the classes in their colours, as many as fit on a line."""
    canvas, left = ImageDraw.Draw(sheet), float(_GAP)
    for label, name in enumerate(names):
        text = _printable(name)
        right = left + 14 + canvas.textlength(text, font=_font())
        if right > sheet.width - 30:
            canvas.text((left, _GAP), "...", fill="black", font=_font())
            return
        canvas.rectangle((left, _GAP + 2, left + 10, _GAP + 12), fill=colour_of(label), outline="black")
        canvas.text((left + 14, _GAP), text, fill="black", font=_font())
        left = right + 12


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def _printable(text: str) -> str:
    """Reduce a text to characters that the built-in font can draw."""
    return text[:60].encode("latin-1", "replace").decode("latin-1")
