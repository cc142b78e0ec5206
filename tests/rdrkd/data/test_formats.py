import json
from pathlib import Path

import pytest
from PIL import Image

from rdrkd.data import coco, open_dataset, visdrone, yolo
from rdrkd.data.check import check
from rdrkd.data.frames import Box, Frame
from rdrkd.errors import DatasetError
from tests.shared import need

NAMES = ("car", "person", "bus")
FRAME = Frame(
    "a.jpg",
    640,
    480,
    (
        Box(0, 10, 20, 31, 43),
        Box(2, 600, 400, 40, 80, truncation=1, occlusion=2),
        Box(1, 5, 5, 7, 9, ignored=True),
        Box(None, 100, 100, 50, 20, ignored=True),
    ),
)


def places(frame: Frame, ignored: bool = True) -> list[tuple[int | None, float, float, float, float, bool]]:
    boxes = [b for b in frame.boxes if ignored or not b.ignored]
    return [(b.label, *(round(v, 4) for v in (b.x, b.y, b.width, b.height)), b.ignored) for b in boxes]


def test_yolo_keeps_what_counts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(yolo.to_text(FRAME))
    assert places(yolo.read(tmp_path / "a.txt", "a.jpg", 640, 480, 3)) == places(FRAME, ignored=False)
    assert yolo.read(tmp_path / "none.txt", "a.jpg", 640, 480, 3).boxes == ()
    with pytest.raises(DatasetError, match=r"a\.txt:2: expected a class number from 0 to 1, got 2"):
        yolo.read(tmp_path / "a.txt", "a.jpg", 640, 480, 2)


def test_coco_keeps_everything_but_the_grades(tmp_path: Path) -> None:
    coco.write(tmp_path / "x" / "a.json", [FRAME], NAMES)
    (frame,) = coco.read(tmp_path / "x" / "a.json", NAMES)
    assert places(frame) == places(FRAME)
    assert (frame.file, frame.width, frame.height) == ("a.jpg", 640, 480)
    content = json.loads((tmp_path / "x" / "a.json").read_text())
    crowds = [a for a in content["annotations"] if a["iscrowd"]]
    assert [a["category_id"] for a in crowds if a["bbox"] == [100, 100, 50, 20]] == [1, 2, 3]
    assert content["annotations"][0]["area"] == 31 * 43
    with pytest.raises(DatasetError, match="class names"):
        coco.read(tmp_path / "x" / "a.json", ("car", "person"))


def test_coco_matches_categories_by_name(tmp_path: Path) -> None:
    coco.write(tmp_path / "a.json", [FRAME], NAMES)
    (frame,) = coco.read(tmp_path / "a.json", ("bus", "car", "person"))
    assert [box.label for box in frame.boxes] == [1, 0, 2, None]


def test_visdrone_keeps_everything(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(visdrone.to_text(FRAME))
    assert visdrone.read(tmp_path / "a.txt", "a.jpg", 640, 480) == FRAME
    assert visdrone.to_text(FRAME).splitlines()[1:3] == ["600,400,40,80,1,3,1,2", "5,5,7,9,0,2,0,0"]


def test_visdrone_ignores_others_and_skips_boxes_without_size(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,2,3,4,1,11,0,0\n1,2,0,4,1,4,0,0\n\n5,6,7,8,1,10,0,0,\n")
    frame = visdrone.read(tmp_path / "a.txt", "a.jpg", 64, 64)
    assert places(frame) == [(None, 1, 2, 3, 4, True), (9, 5, 6, 7, 8, False)]


@pytest.mark.parametrize("line", ["1,2,3,4,1,4,0", "1,2,3,4,1,12,0,0", "1,2,x,4,1,4,0,0", "1.5,2,3,4,1,4,0,0"])
def test_visdrone_names_the_line_at_fault(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"1,2,3,4,1,4,0,0\n{line}\n")
    with pytest.raises(DatasetError, match=r"a\.txt:2: expected"):
        visdrone.read(tmp_path / "a.txt", "a.jpg", 64, 64)


def test_a_box_that_counts_has_a_class() -> None:
    with pytest.raises(ValueError, match="class index"):
        Box(None, 1, 2, 3, 4)


def visdrone_folder(folder: Path, text: str = "1,2,30,40,1,4,0,0\n50,2,10,10,0,0,0,0\n", name: str = "a") -> Path:
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(folder / "images" / f"{name}.jpg")
    (folder / "annotations" / f"{name}.txt").write_text(text)
    return folder


def test_converts_a_visdrone_folder(tmp_path: Path) -> None:
    train, val = visdrone_folder(tmp_path / "t"), visdrone_folder(tmp_path / "v", "1,2,30,40,1,10,0,0\n", "b")
    out = tmp_path / "out"
    assert visdrone.main([str(out), "--train", str(train), "--val", str(val)]) == 0
    dataset = open_dataset(out, tmp_path)
    assert dataset.names == visdrone.NAMES
    assert (out / "labels/train/a.txt").read_text() == "3 0.16000000 0.27500000 0.30000000 0.50000000\n"
    (frame,) = coco.read(dataset.annotations["train"], dataset.names)
    assert places(frame) == [(3, 1, 2, 30, 40, False), (None, 50, 2, 10, 10, True)]
    assert check(dataset).problems == []


@pytest.mark.parametrize("fault", ["no annotations", "no images", "bad line", "bad image", "exists"])
def test_a_failed_conversion_leaves_nothing(tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = visdrone_folder(tmp_path / "t"), visdrone_folder(tmp_path / "v")
    out = tmp_path / "out"
    match fault:
        case "no annotations":
            (val / "annotations/a.txt").unlink()
        case "no images":
            (val / "images/a.jpg").unlink()
        case "bad line":
            (val / "annotations/a.txt").write_text("1,2\n")
        case "bad image":
            (val / "images/a.jpg").write_text("no image")
        case "exists":
            out.mkdir()
    before = sorted(tmp_path.iterdir())
    assert visdrone.main([str(out), "--train", str(train), "--val", str(val)]) == 3
    assert "expected" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_converts_real_visdrone_images(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(need("data/visdrone_sample3.zip")) as opened:
        opened.extractall(tmp_path)
    source = visdrone.Source(*(tmp_path / "visdrone_sample3" / part for part in ("images", "annotations")))
    dataset = open_dataset(visdrone.convert({"train": source, "val": source}, tmp_path / "out"), tmp_path)
    found = check(dataset)
    assert found.problems == []
    assert found.statistics["splits"]["val"]["images"] == 3
    assert found.warnings[-1].startswith("val: 3 images are also in train")
