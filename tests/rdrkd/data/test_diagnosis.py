"""The dataset doctor: each finding on a dataset made for it, none on a sound one, and the command around it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rdrkd.cli.main import app
from rdrkd.data import open_dataset
from rdrkd.data.diagnosis import Finding
from rdrkd.data.diagnosis import diagnose as full_diagnosis
from rdrkd.data.likeness import alike, difference_hash
from rdrkd.data.reading import Reading
from rdrkd.errors import DatasetError
from rdrkd.summary import summary
from tests.rdrkd.data.crafted import YAML, make_dataset, make_image, zip_up

BOTH = "0 .25 .25 .25 .25\n1 .6 .6 .25 .3\n"


def diagnose(path: Path, imgsz: int = 640, reading: Reading | None = None) -> list[Finding]:
    return full_diagnosis(path, imgsz, reading).findings


def sound(root: Path) -> Path:
    make_dataset(root, label=BOTH)
    for split in ("train", "val"):
        for number in range(3):
            make_image(root / "images" / split / f"{number}.png", seed=10 * len(split) + number)
            (root / "labels" / split / f"{number}.txt").write_text(BOTH)
    return root


def write(root: Path, name: str, text: str) -> None:
    (root / "labels" / f"{name}.txt").write_text(text)


def brighter(root: Path) -> None:
    """Put a training image into val, scaled and saved as JPEG: other bytes, the same look."""
    image = cv2.imread(str(root / "images/train/0.png"))
    assert image is not None
    larger = cv2.resize(image, (96, 72), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(root / "images/val/0.jpg"), np.clip(larger * 1.05, 0, 255).astype(np.uint8))
    (root / "images/val/0.png").unlink()


def deep(root: Path) -> None:
    for image in root.rglob("*.png"):
        grey = np.random.default_rng(len(str(image)) + ord(image.stem[0])).integers(7000, 7400, (24, 32))
        cv2.imwrite(str(image), grey.astype(np.uint16))


def rare(root: Path) -> None:
    lines = "".join(f"0 {x / 100:.2f} .5 .1 .2\n" for x in range(10, 90))
    for number in range(3):
        write(root, f"train/{number}", lines)


CASES: dict[str, tuple[Callable[[Path], object], str, str, int, str]] = {  # change, code, severity, count, words
    "class": (lambda r: [write(r, f"val/{n}", "0 .5 .5 .2 .2\n") for n in "a012"], "class_absent", "note", 1, "person"),
    "duplicate": (brighter, "duplicates", "warning", 1, "(--divide val=0.2,prefix=_)"),
    "small": (lambda r: write(r, "train/0", "0 .5 .5 .003 .003\n"), "too_small", "warning", 1, "at imgsz 640"),
    "empty": (lambda r: write(r, "val/0", ""), "empty_images", "note", 1, "1 of 4 images have no objects"),
    "mostly empty": (lambda r: [write(r, f"val/{n}", "") for n in "012"], "empty_images", "warning", 3, "are labelled"),
    "whole": (lambda r: write(r, "train/1", "1 .5 .5 1 .99\n"), "covers_image", "warning", 1, "1 boxes cover"),
    "imbalance": (rare, "class_imbalance", "warning", 1, "241 objects of car"),
    "sizes": (lambda r: make_image(r / "images/val/1.png", 64, 24, 77), "image_sizes", "note", 1, "the usual 32x24 px"),
    "16-bit": (deep, "deep_images", "note", 8, "become 0 to 255"),
    "refused": (lambda r: write(r, "val/1", "7 .5 .5 .1 .1\n"), "refused", "error", 1, "class number from 0 to 1"),
    "twice": (lambda r: write(r, "val/1", BOTH + BOTH), "check", "warning", 1, "duplicate label lines"),
    "no split": (lambda r: (r / "data.yaml").write_text("names: [car, person]\n"), "refused", "error", 1, "`divide`"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_each_is_found_counted_with_an_example_and_advice(tmp_path: Path, case: str, packed: bool) -> None:
    change, code, severity, count, words = CASES[case]
    root = sound(tmp_path / "d")
    change(root)
    found = diagnose(zip_up(root, tmp_path / "a.zip") if packed else root)
    (finding,) = [one for one in found if one.code == code]
    assert (finding.severity, finding.count) == (severity, count)
    assert words in f"{finding.detail} {finding.example} {finding.advice}"
    assert finding.advice or finding.severity == "error" or code == "check"
    assert found == sorted(found, key=lambda one: ("error", "warning", "note").index(one.severity))


def test_a_sound_dataset_has_no_finding(tmp_path: Path) -> None:
    assert diagnose(sound(tmp_path / "d")) == []


def test_the_input_size_at_which_the_median_object_is_seen_is_named(tmp_path: Path) -> None:
    root = sound(tmp_path / "d")
    for label in (root / "labels/train").glob("*.txt"):
        label.write_text("0 .5 .5 .004 .004\n1 .5 .5 .004 .004\n")
    (finding,) = [one for one in diagnose(root, imgsz=640) if one.code == "too_small"]
    # sides of 32 * .004 by 24 * .004 px: 0.11 px of 32, which are 8 px at 2309
    assert "at 2336 the median object has 8 px" in finding.advice
    assert "too_small" not in [one.code for one in diagnose(root, imgsz=2336)]


@pytest.mark.parametrize("imgsz", [640, 320, 64])
def test_no_smaller_input_is_advised_for_a_few_small_objects(tmp_path: Path, imgsz: int) -> None:
    root = sound(tmp_path / "d")
    (root / "labels/train/a.txt").write_text("0 .5 .5 .25 .25\n1 .5 .5 .001 .001\n")
    (finding,) = [one for one in diagnose(root, imgsz) if one.code == "too_small"]
    assert "larger imgsz" not in finding.advice
    assert finding.advice.startswith("look at the example")


def test_what_a_conversion_changed_or_dropped_is_a_finding(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", yaml=None, label=BOTH)
    shutil.rmtree(root / "labels")
    for split in ("train", "val"):
        image = {"id": 1, "file_name": f"images/{split}/a.png", "width": 32, "height": 24}
        roots = {"id": 0, "name": "vehicles", "supercategory": "none"}
        document = {
            "images": [image], "categories": [roots, {"id": 1, "name": "car", "supercategory": "vehicles"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 9, 9], "area": -1},
                {"id": 2, "image_id": 1, "category_id": 7, "bbox": [2, 2, 9, 9]},
            ],
        }  # fmt: skip
        (root / f"{split}.json").write_text(json.dumps(document))
    archive = zip_up(root, tmp_path / "a.zip")
    details = [one.detail for one in diagnose(archive, reading=Reading(lenient=True, keep=True))]
    assert "train.json: dropped categories that only group others: vehicles" in details
    assert any("the `area` of 1 annotations is not a positive number" in detail for detail in details)
    assert "dropped because of errors (lenient mode): 2 annotations" in details


@pytest.mark.parametrize("labels", ["missing", "empty"])
def test_a_split_without_objects_is_one_refusal(tmp_path: Path, labels: str) -> None:
    root = sound(tmp_path / "d")
    for file in (root / "labels/train").iterdir():
        file.unlink() if labels == "missing" else file.write_text("")
    (finding,) = diagnose(root)
    assert (finding.severity, finding.code, finding.example) == ("error", "refused", "train")


@pytest.mark.parametrize("side", ["1e-300", "1e-7", "1e-4"])
def test_objects_that_no_input_can_show_ask_for_tiles(tmp_path: Path, side: str) -> None:
    root = make_dataset(tmp_path / "d", label=f"0 .5 .5 {side} {side}\n1 .5 .5 {side} {side}\n")
    advice = {one.advice for one in diagnose(root) if one.code == "too_small"}
    assert advice == {"cut the images into tiles"}


def test_labels_of_another_split_have_their_images(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", yaml="train: train.txt\nval: val.txt\nnames: [car, person]\n", label=BOTH)
    make_image(root / "images/train/b.png", seed=3)
    (root / "labels/train/b.txt").write_text(BOTH)
    (root / "train.txt").write_text("./images/train/a.png\n")
    (root / "val.txt").write_text("./images/train/b.png\n")
    assert not any("have no image" in one.detail for one in diagnose(root))


def test_likeness_is_of_looks_and_not_of_flat_images() -> None:
    random = np.random.default_rng(0)
    images = [cv2.resize(random.integers(0, 255, (6, 8, 3), dtype=np.uint8), (320, 240)) for _ in range(40)]
    codes = np.array([difference_hash(image) for image in images], dtype=np.uint64)
    blurred = np.array([difference_hash(cv2.GaussianBlur(image, (7, 7), 0)) for image in images], dtype=np.uint64)
    paths = [Path(str(number)) for number in range(40)]
    assert alike(paths, blurred, paths, codes) == list(zip(paths, paths, strict=True))
    assert alike(paths[:20], codes[:20], paths[20:], codes[20:]) == []
    assert difference_hash(np.full((24, 32, 3), 90, np.uint8)) is None


@pytest.mark.parametrize(("text", "status"), [(YAML, 0), (YAML + "download: x\n", 0), ("names: [car]\n", 3)])
def test_the_command_prints_findings_and_says_by_its_status_what_is_refused(
    tmp_path: Path, text: str, status: int
) -> None:
    root = sound(tmp_path / "d")
    (root / "data.yaml").write_text(text)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    shown = CliRunner().invoke(app, ["datasets", "check", str(root), "--imgsz", "64"])
    assert shown.exit_code == status, shown.output
    assert shown.stderr == f"checking {root} ...\n", "before a wait"
    printed = CliRunner().invoke(app, ["datasets", "check", str(root), "--json"])
    findings = [Finding(**one) for one in json.loads(printed.stdout)]
    assert any(one.severity == "error" for one in findings) == bool(status)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before, "nothing of the owner's is written to"


def test_the_command_divides_an_archive(tmp_path: Path) -> None:
    root = sound(tmp_path / "d")
    shutil.move(root / "images/val/a.png", root / "images/train/b.png")
    (root / "data.yaml").write_text("names: [car, person]\n")
    archive = str(zip_up(root, tmp_path / "a.zip"))
    assert CliRunner().invoke(app, ["datasets", "check", archive]).exit_code == 3
    for path in (archive, str(root)):
        assert CliRunner().invoke(app, ["datasets", "check", path, "--divide", "val=0.3"]).exit_code == 0
    refused = CliRunner().invoke(app, ["datasets", "check", archive, "--divide", "nonsense"])
    assert refused.exit_code == 2


def test_advice_names_lenient_only_where_it_helps(tmp_path: Path) -> None:
    root = sound(tmp_path / "d")
    (root / "labels/train/a.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 2 0.2\n")
    (faulty,) = diagnose(zip_up(root, tmp_path / "a.zip"))
    assert "--lenient" in faulty.advice
    shutil.rmtree(root / "labels/val")
    findings = {one.detail: one.advice for one in diagnose(zip_up(root, tmp_path / "b.zip")) if one.severity == "error"}
    assert not all("--lenient" in advice for advice in findings.values())
    shown = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["datasets", "check", str(tmp_path / "b.zip")]).output
    assert "ERROR   val: expected label files" in shown, "the place of an error is no example"


def test_a_folder_keeps_its_name_when_it_is_packed_for_the_check(tmp_path: Path) -> None:
    (tmp_path / "survey").mkdir()
    make_image(tmp_path / "survey/a.png")
    shown = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["datasets", "check", str(tmp_path / "survey"), "--lenient"])
    assert shown.exit_code == 3
    assert "survey" in shown.stdout
    assert "survey.zip" not in shown.stdout


def test_what_lenient_leaves_out_is_listed_by_place(tmp_path: Path) -> None:
    root = sound(tmp_path / "d")
    make_image(root / "images/train/b.png")
    (root / "labels/train/b.txt").write_text("7 0.5 0.5 0.2 0.2\n")
    found = [one for one in diagnose(zip_up(root, tmp_path / "a.zip"), reading=Reading(lenient=True))
             if one.code == "left_out"]  # fmt: skip
    assert [one.detail.split(": left out")[0] for one in found] == ["labels/train/b.txt:1", "images/train/b.png"]
    assert ["--keep" in one.advice for one in found] == [False, True]


@pytest.mark.parametrize("layout", ["coco", "visdrone"])
def test_a_folder_in_another_layout_is_checked_as_its_archive_would_be(tmp_path: Path, layout: str) -> None:
    for of in ("train", "val"):
        make_image(tmp_path / "d" / of / "images/a.png")
        document = {
            "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 8, 8]}],
        }
        (tmp_path / "d" / of / "annotations").mkdir()
        if layout == "coco":
            (tmp_path / "d" / of / "annotations/all.json").write_text(json.dumps(document))
            (tmp_path / "d" / of / "annotations/notes.txt").write_text("")  # no annotation of VisDrone's
        else:
            (tmp_path / "d" / of / "annotations/a.txt").write_text("4,4,8,8,1,4,0,0\n")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["datasets", "check", str(tmp_path / "d"), "--json"])
    assert result.exit_code == 0, result.output
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(DatasetError, match=f"got one in the layout {layout}: pack it as a .zip"):
        open_dataset(tmp_path / "d", tmp_path)


def test_only_deep_images_are_counted_as_such(tmp_path: Path) -> None:
    root = sound(tmp_path / "d")
    Image.fromarray(np.arange(768, dtype=np.uint16).reshape(24, 32) + 7000).save(root / "images/val/1.png")
    (finding,) = [one for one in diagnose(root) if one.code == "deep_images"]
    assert (finding.count, finding.example) == (1, "images/val/1.png")


def test_a_darknet_export_is_recognised(tmp_path: Path) -> None:
    make_image(tmp_path / "d/obj_train_data/a.png")
    (tmp_path / "d/obj_train_data/a.txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "d/train.txt").write_text("data/obj_train_data/a.png\n")
    (finding,) = diagnose(zip_up(tmp_path / "d", tmp_path / "a.zip"))
    assert "recognised a Darknet export (obj_train_data/, CVAT's `YOLO 1.1`)" in finding.detail


def labels_of_no_class(root: Path) -> Path:
    """Make a dataset whose five training images all have a label with class 7."""
    sound(root)
    make_image(root / "images/train/b.png", seed=99)
    for stem in "ab012":
        write(root, f"train/{stem}", "7 .5 .5 .1 .1\n")
    return root


def test_errors_of_lenient_mode_are_grouped_and_their_consequence_comes_last(tmp_path: Path) -> None:
    archive = zip_up(labels_of_no_class(tmp_path / "d"), tmp_path / "a.zip")
    cause, consequence = diagnose(archive, reading=Reading(lenient=True))
    assert (cause.count, cause.example, cause.advice) == (5, "labels/train/0.txt:1", "")
    assert "expected a class number from 0 to 1, got 7 (5 times: " in cause.detail
    assert consequence.detail == (
        "nothing is left: all 5 images were left out (expected a class number from 0 to 1, got 7)"
    )


def test_a_consequence_of_listed_errors_is_no_finding(tmp_path: Path) -> None:
    (finding,) = diagnose(labels_of_no_class(tmp_path / "d"))
    assert (finding.code, finding.count, finding.advice) == ("refused", 5, "")


def test_images_without_a_data_yaml_get_an_example_of_one(tmp_path: Path) -> None:
    make_image(tmp_path / "d/a.png")
    shown = CliRunner().invoke(app, ["datasets", "check", str(tmp_path / "d")]).output
    assert "        write a data.yaml such as\n          train: images/train" in shown


@pytest.mark.parametrize("fault", ["suffix", "commas", "class", "values"])
def test_faults_that_differ_only_in_a_name_or_value_are_one_finding(tmp_path: Path, fault: str) -> None:
    root = sound(tmp_path / "d")
    for number, file in enumerate(sorted((root / "labels/train").iterdir())):
        if fault == "suffix":
            file.rename(file.with_suffix(".TXT"))
        else:
            text = {"commas": f"0 0,{number} 0,5 0,1 0,1\n", "class": f"{9 + number} .5 .5 .1 .1\n"}
            file.write_text(text.get(fault, f"0 {2 + number} .5 .1 .1\n"))
    of_files = [one for one in diagnose(root) if one.severity == "error" and one.example != "train"]
    assert [(one.count, "(4 alike: " in one.detail) for one in of_files] == [(4, True)]
    assert ", ...)" in of_files[0].detail, "some of the files are named"


def test_an_error_whose_remedy_is_unknown_has_no_line_of_advice(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["datasets", "check", str(labels_of_no_class(tmp_path / "d"))])
    assert len(shown.stdout.splitlines()) == 1


def test_a_weights_file_is_named_once(tmp_path: Path) -> None:
    make_image(tmp_path / "d/archive/data.pkl.png").rename(tmp_path / "d/archive/data.pkl")
    weights = zip_up(tmp_path / "d", tmp_path / "teacher.pt")
    shown = CliRunner().invoke(app, ["datasets", "check", str(weights)])
    assert shown.stdout == "ERROR   teacher.pt is a weights file, not a dataset\n"


def test_a_dataset_without_errors_is_summarised(tmp_path: Path) -> None:
    root = sound(tmp_path / "d")
    line = "ok: 4 train and 4 val images, 16 objects, 2 classes (car, person)\n"
    assert CliRunner().invoke(app, ["datasets", "check", str(root), "--imgsz", "320"]).stdout == line
    write(root, "val/0", "")
    shown = CliRunner().invoke(app, ["datasets", "check", str(root)]).stdout
    assert shown.startswith("NOTE    val: 1 of 4 images")
    assert shown.endswith("ok: 4 train and 4 val images, 14 objects, 2 classes (car, person)\n")


def test_a_summary_names_the_first_ten_classes() -> None:
    shown = summary([f"c{number}" for number in range(12)], {"splits": {"val": {"images": 1}}, "boxes": 1})
    assert shown.startswith("1 val images, 1 object, 12 classes (c0, c1, ")
    assert shown.endswith("c9, ...)")
