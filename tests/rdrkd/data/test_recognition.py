"""Exports that are not read are refused with what was recognised and what to do, as an archive and as a folder."""

import json
from pathlib import Path

import pytest

from rdrkd.data import open_dataset
from rdrkd.data.diagnosis import diagnose
from rdrkd.data.reading import Reading
from rdrkd.data.remedies import DATA_YAML
from rdrkd.errors import DatasetError
from rdrkd.spec.splitting import Split
from tests.rdrkd.data.crafted import make_image, zip_up
from tests.rdrkd.data.loading import the_same_everywhere

KINDS: dict[str, tuple[str, str, str]] = {  # a file, what it holds, and what is said of it
    "VisDrone-VID": ("val/annotations/uav1.txt", "1,0,5,5,20,20,1,4,0,0\n2,0,6,5,20,20,1,4,0,0\n", "use VisDrone-DET"),
    "VisDrone elsewhere": ("val/labels/a.txt", "684,8,273,116,0,0,0,0\n", "VisDrone's annotations in other folders"),
    "VisDrone named otherwise": (
        "val/Annotations/a.txt",
        "6,8,27,11,1,4,0,0,\n",
        "images/ and annotations/ beside each",
    ),
    "MOTChallenge": ("train/MOT17-02/gt/gt.txt", "1,1,5.5,5,20,20,1,1,0.86\n", "annotations of videos"),
    "DOTA": ("train/labelTxt/P1.txt", "imagesource:GoogleEarth\ngsd:0.1\n1 1 9 1 9 9 1 9 plane 0\n", "oriented boxes"),
    "DOTA 1.5": ("train/labelTxt/P1.txt", "1.0 1.0 9.0 1.0 9.0 9.0 1.0 9.0 plane 0\n", "oriented boxes"),
    "KITTI": ("label_2/0.txt", "Car 0.00 0 -1.58 5.1 5 20 20 1.6 1.5 3.6 2 1 30 -1.5\n", "KITTI's labels"),
    "YOLO": ("labels/a.txt", "0 .5 .5 .25 5e-1\n", "without class names (labels/a.txt): expected a data.yaml"),
    "LabelMe": ("a.json", '{"shapes": [{"label": "car", "shape_type": "rectangle"}]}', "LabelMe's JSON"),
    "VIA": ("via.json", '{"a.png1": {"regions": [{"shape_attributes": {}}]}}', "VGG Image Annotator's JSON"),
    "Create ML": ("c.json", '[{"image": "a", "annotations": [{"label": "c", "coordinates": {}}]}]', "Create ML's JSON"),
    "Supervisely": ("ann/a.png.json", '{"objects": [{"classTitle": "c", "geometryType": "rectangle"}]}', "Supervisely"),
    "Label Studio": ("p.json", '[{"annotations": [{"result": [{"from_name": "l", "to_name": "i"}]}]}]', "own JSON"),
    "Datumaro": ("d.json", '{"categories": {"label": {"labels": [{"name": "c"}]}}, "items": []}', "Datumaro's JSON"),
    "results": ("r.json", '[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}]', "COCO's results of a detector"),
    "CVAT": ("annotations.xml", '<annotations><image id="0"><box label="c"/></image></annotations>', "CVAT for images"),
    "CVAT video": ("annotations.xml", '<annotations><track id="0"/></annotations>', "CVAT's own XML of a video"),
    "other JSON": ("package.json", "{}", "got 1 JSON files without them, such as package.json"),
    "nothing": ("readme.txt", "hello\n", "got 1 .png, 1 .txt"),
}


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_other_exports_are_recognised(tmp_path: Path, kind: str, archived: bool) -> None:
    place, content, said = KINDS[kind]
    make_image(tmp_path / "d/photos/a.png")
    (tmp_path / "d" / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "d" / place).write_text(content)
    for lenient in (False, True) if archived else (False,):
        path = zip_up(tmp_path / "d", tmp_path / "a.zip") if archived else tmp_path / "d"
        (problem,) = the_same_everywhere(path, tmp_path, Reading(lenient))["problems"]
        assert said in problem["detail"]
        assert problem["where"] == path.name


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_carries_its_advice(tmp_path: Path, kind: str) -> None:
    """Whoever is asked for a data.yaml is shown one, however the message is worded."""
    place, content, _ = KINDS[kind]
    make_image(tmp_path / "d/photos/a.png")
    (tmp_path / "d" / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "d" / place).write_text(content)
    with pytest.raises(DatasetError) as refused:
        open_dataset(tmp_path / "d", tmp_path)
    assert refused.value.advice == (DATA_YAML if "data.yaml" in str(refused.value) else "")
    (finding,) = diagnose(tmp_path / "d").findings
    assert finding.advice == refused.value.advice


@pytest.mark.parametrize("lenient", [False, True])
def test_advice_outlives_a_conversion(tmp_path: Path, lenient: bool) -> None:
    """A division of images whose class names are in two lists is refused while they are converted."""
    for name in ("a", "b"):
        make_image(tmp_path / f"d/{name}/{name}.png")
        (tmp_path / f"d/{name}/{name}.txt").write_text("0 .5 .5 .5 .5\n")
        (tmp_path / f"d/{name}/classes.txt").write_text("car\n")
    reading = Reading(lenient=lenient, split=Split(val=0.5))
    (finding,) = diagnose(zip_up(tmp_path / "d", tmp_path / "a.zip"), reading=reading).findings
    assert finding.advice == DATA_YAML


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("layout", ["COCO", "VOC", "VisDrone"])
@pytest.mark.parametrize("broken", ["names: [car\ntrain: images/train\n", "\tnames: x", "- car\n"])
def test_a_broken_data_yaml_is_refused_whatever_is_beside_it(
    tmp_path: Path, broken: str, layout: str, archived: bool
) -> None:
    root = tmp_path / "d"
    for split in ("train", "val"):
        make_image(root / split / "images/a.png")
        (root / split / "annotations").mkdir()
    image, box = {"id": 1, "file_name": "a.png", "width": 32, "height": 24}, [2, 2, 9, 9]
    document = {
        "images": [image], "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 81, "iscrowd": 0}],
    }  # fmt: skip
    xml = "<annotation><object><name>car</name></object></annotation>"
    content = {"COCO": ("json", json.dumps(document)), "VOC": ("xml", xml), "VisDrone": ("txt", "2,2,9,9,1,4,0,0\n")}
    suffix, text = content[layout]
    for split in ("train", "val"):
        (root / split / f"annotations/a.{suffix}").write_text(text)
    (root / "data.yaml").write_text(broken)
    path = zip_up(root, tmp_path / "a.zip") if archived else root
    with pytest.raises(DatasetError) as refused:
        open_dataset(path, tmp_path / "cache")
    (problem,) = refused.value.problems
    assert problem.where == "data.yaml"
    assert problem.detail.startswith("expected ")
