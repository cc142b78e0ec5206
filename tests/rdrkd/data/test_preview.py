from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from rdrkd.data import open_dataset
from rdrkd.data.preview import MOST, colour_of, draw
from rdrkd.data.scenes import write_scenes
from rdrkd.run.inspection import inspect
from tests.rdrkd.data.crafted import make_dataset, zip_up
from tests.shared import need


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        assert picture.format == "JPEG"
        picture.load()
        return picture


def near(picture: Image.Image, colour: str) -> int:
    """Count the pixels of about this colour."""
    wanted = np.array(ImageColor.getrgb(colour))
    return int((np.abs(np.asarray(picture).astype(int) - wanted).max(axis=2) < 70).sum())


def black(folder: Path, label: str) -> Path:
    """Make a dataset of black images: what is coloured in the picture was drawn."""
    made = make_dataset(folder, label=label)
    for split in ("train", "val"):
        Image.new("RGB", (64, 48)).save(made / "images" / split / "a.png")
    return made


def test_boxes_are_drawn_in_the_colours_of_their_classes(tmp_path: Path) -> None:
    dataset = open_dataset(black(tmp_path / "d", "1 0.5 0.5 0.5 0.5\n"), tmp_path)
    picture = opened(draw(dataset, tmp_path / "a.jpg"))
    car, person = (near(picture, colour_of(label)) for label in (0, 1))
    assert person > 4 * 240 + car  # two frames of 240 x 180 px; of the other class there is its name alone


def test_what_is_ignored_is_drawn_too(tmp_path: Path) -> None:
    out = write_scenes(tmp_path / "d", "visdrone", {"train": 4, "val": 4}, 320).parent
    report = inspect(zip_up(out, tmp_path / "a.zip"), tmp_path / "cache", preview=tmp_path / "a.jpg")
    assert report["statistics"]["ignored_boxes"] > 0
    assert opened(tmp_path / "a.jpg").size[0] == 3 * 488 + 8
    again = inspect(tmp_path / "a.zip", tmp_path / "cache", preview=tmp_path / "b.jpg")
    assert again["ok"]
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_of_an_unsound_dataset_there_is_none(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "d", label="9 .5 .5 .1 .1\n")
    assert not inspect(zip_up(made, tmp_path / "a.zip"), tmp_path / "cache", preview=tmp_path / "a.jpg")["ok"]
    assert not (tmp_path / "a.jpg").exists()


@pytest.mark.parametrize("form", ["L", "RGBA", "P", "I;16", "CMYK"])
def test_every_kind_of_image_is_drawn(tmp_path: Path, form: str) -> None:
    made = make_dataset(tmp_path / "d")
    suffix = ".tif" if form == "CMYK" else ".png"
    for split in ("train", "val"):
        (made / "images" / split / "a.png").unlink()
        Image.new(form, (640, 480)).save(made / "images" / split / f"a{suffix}")
    draw(open_dataset(made, tmp_path), tmp_path / "a.jpg")


def test_names_of_any_script_and_number(tmp_path: Path) -> None:
    names = ", ".join(f'"класс {n}"' for n in range(200))
    text = f"train: images/train\nval: images/val\nnames: [{names}]\n"
    picture = opened(draw(open_dataset(make_dataset(tmp_path / "d", text), tmp_path), tmp_path / "a.jpg"))
    assert max(picture.size) < 488 * MOST


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hit_uav_tiny", "aerial_cars"])
def test_real_images(tmp_path: Path, name: str) -> None:
    report = inspect(need(f"data/{name}.zip"), tmp_path / "cache", preview=tmp_path / "a.jpg")
    assert report["ok"]
    assert (tmp_path / "a.jpg").stat().st_size < 2**20
