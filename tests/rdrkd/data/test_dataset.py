from pathlib import Path

import pytest
import ultralytics
import yaml

from rdrkd.data import Dataset, open_dataset
from rdrkd.errors import DatasetError, Problem
from tests.rdrkd.data.crafted import YAML, make_dataset, make_image, zip_up
from tests.shared import need

HEAD = "train: images/train\nval: images/val\n"


def refusal(path: Path, cache: Path) -> tuple[Problem, ...]:
    with pytest.raises(DatasetError) as caught:
        open_dataset(path, cache)
    assert not cache.exists() or list(cache.iterdir()) == []
    return caught.value.problems


def refuse_yaml(tmp_path: Path, text: str) -> dict[str, str]:
    """Upload a sound dataset with this data YAML; give the problems."""
    archive = zip_up(make_dataset(tmp_path / "made", text), tmp_path / "a.zip")
    return {problem.where: problem.detail for problem in refusal(archive, tmp_path / "cache")}


@pytest.mark.parametrize("wrapper", ["", "wrapped", "two/deep"])
def test_opens_a_zip_with_or_without_a_wrapping_folder(tmp_path: Path, wrapper: str) -> None:
    made = make_dataset(tmp_path / "made")
    (made / "README.md").write_text("extra")
    dataset = open_dataset(zip_up(made, tmp_path / "a.zip", wrapper), tmp_path / "cache")
    assert dataset.names == ("car", "person")
    assert dataset.root == tmp_path / "cache" / dataset.sha256 / wrapper
    assert {split: [p.name for p in dataset.images(split)] for split in dataset.splits} == {
        "train": ["a.png"],
        "val": ["a.png"],
    }
    assert dataset.annotations == {}
    with pytest.raises(DatasetError, match="'test'"):
        dataset.images("test")


def test_unpacks_no_cache_that_training_would_unpickle(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "made")
    for name in ("labels/train.cache", "images/train/a.npy"):  # Ultralytics reads both, the first as a pickle
        (made / name).write_bytes(b"x")
    dataset = open_dataset(zip_up(made, tmp_path / "a.zip"), tmp_path / "cache")
    assert {p.suffix for p in dataset.root.rglob("[!.]*") if p.is_file()} == {".png", ".txt", ".yaml"}


def test_writes_a_yaml_of_its_own(tmp_path: Path) -> None:
    text = YAML + "author: somebody\nroboflow: {url: 'http://x'}\n"
    dataset = open_dataset(zip_up(make_dataset(tmp_path / "made", text), tmp_path / "a.zip"), tmp_path / "cache")
    dataset.write_yaml(tmp_path / "ours.yaml")
    content = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    assert content == {
        "path": str(dataset.root),
        "train": str(tmp_path / "ours.train.txt"),
        "val": str(tmp_path / "ours.val.txt"),
        "names": ["car", "person"],
    }


def test_never_runs_a_download(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    download = f"download: |\n  import os\n  os.system('touch {marker}')\n"
    read = open_dataset(
        zip_up(make_dataset(tmp_path / "made", YAML + download), tmp_path / "a.zip"), tmp_path / "cache"
    )
    assert read.notes == ("data.yaml: ignored these keys: download",)
    (tmp_path / "absent").mkdir()
    problems = refuse_yaml(tmp_path / "absent", "train: images/none\nnames: [car]\n" + download)
    assert "never run" in problems["data.yaml: download"]
    assert not marker.exists()


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ("augment: true", "augment"),
        ("channels: 3\ndownload: https://x/y.zip\nflip_idx: [0]", "channels, download, flip_idx"),
        ("name: my set\ntests: x\ntest: images/val\n3: x", "name, tests, 3"),
        ("valid: images/train", "valid"),  # beside `val`
    ],
)
def test_foreign_keys_are_ignored_with_a_warning_however_a_dataset_comes(
    tmp_path: Path, keys: str, named: str, as_zip: bool
) -> None:
    made = make_dataset(tmp_path / "made", f"{YAML}{keys}\n")
    read = open_dataset(zip_up(made, tmp_path / "a.zip") if as_zip else made, tmp_path / "cache")
    assert read.notes == (f"data.yaml: ignored these keys: {named}",)


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("train: images/train\nvall: images/val\nnames: [car, person]", "vall", "val"),
        ("train: images/train\nVal: images/val\nnames: [car, person]", "Val", "val"),
        (YAML + "tests: images/val", "tests", "test"),
        (HEAD + "Path: .\nnames: [car]", "Path", "path"),
        ("train: images/train\nval: images/val\nname: [car, person]", "name", "names"),
    ],
)
def test_a_mistyped_key_is_refused_however_a_dataset_comes(
    tmp_path: Path, text: str, key: str, meant: str, as_zip: bool
) -> None:
    made = make_dataset(tmp_path / "made", text)
    with pytest.raises(DatasetError) as refused:
        open_dataset(zip_up(made, tmp_path / "a.zip") if as_zip else made, tmp_path / "cache")
    found = [(problem.where, problem.detail) for problem in refused.value.problems]
    assert found == [(f"data.yaml: {key}", f"unknown key; did you mean `{meant}`?")]


def test_no_key_of_ultralytics_counts_as_a_mistyped_one(tmp_path: Path) -> None:
    folder = Path(ultralytics.__file__).parent / "cfg"
    datasets = [yaml.safe_load(file.read_text()) for file in folder.glob("datasets/*.yaml")]
    keys = {key for one in (*datasets, yaml.safe_load((folder / "default.yaml").read_text())) for key in one}
    for key in sorted(keys - {"kpt_shape", "path", "train", "val", "test", "nc", "names"}):
        made = make_dataset(tmp_path / key, f"{YAML}{key}: 1\n")
        assert open_dataset(made, tmp_path / "cache").splits, key


def test_passes_over_a_download_in_the_owners_own_yaml(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "made", YAML + "download: bash get.sh\nchannels: 3\n")
    dataset = open_dataset(made, tmp_path / "cache")
    dataset.write_yaml(tmp_path / "ours.yaml")
    assert set(yaml.safe_load((tmp_path / "ours.yaml").read_text())) == {"path", "train", "val", "names"}
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        (HEAD + "names: {0: car, 2: person}", "names", "without a gap"),
        (HEAD + "names: {1: car, 2: person}", "names", "without a gap"),
        (HEAD + "names: {0: car, '0': person}", "names", "without a gap"),
        (HEAD + "names: {a: car}", "names", "class numbers as the keys"),
        (HEAD + "names: {0.5: car}", "names", "class numbers as the keys"),
        (HEAD + "names: {-1: car}", "names", "class numbers as the keys"),
        (HEAD + "names: {yes: car}", "names", "class numbers as the keys"),
        (HEAD + "names: car", "names", "a list of names"),
        (HEAD + "names:", "names", "got nothing"),
        (HEAD + "names: []", "names", "at least 1"),
        (HEAD + "names: [car, no]", "names", "quote it"),
        (HEAD + "names: [car, [x]]", "names", "quote it"),
        (HEAD + "names: [car, car]", "names", "distinct"),
        (HEAD + "names: [car, '']", "names", "printable"),
        (HEAD + 'names: [car, "a\\nb"]', "names", "printable"),
        (HEAD + "names: [car, person]\nnc: 3", "nc", "as many names"),
        (HEAD + "names: [car, person]\nnc: many", "nc", "integer"),
        (HEAD, "names", "got nothing"),
        ("train:\nnames: [car]", "train", "got nothing"),
        ("train: images/none\nval: images/val\nnames: [car]", "train", "nothing there"),
        ("train: images/train\nval: [images/none, images/val]\nnames: [car]", "val", "nothing there"),
        (YAML + "test: data.yaml", "test", "got a file"),
        (YAML + "test: labels/val", "test", "got none"),
        (YAML + "test: ../../etc", "test", "inside the archive"),
        (YAML + "test: /etc", "test", "inside the archive"),
        (YAML + "test: http://x/y.zip", "test", "address"),
        (YAML + "test: [images/train, http://x/y]", "test", "address"),
        (YAML + "test: [images/train, 7]", "test", "string"),
        (YAML + "test: {a: b}", "test", "string"),
        ("path: ..\n" + HEAD + "names: [car]", "path", "folder of the archive"),
        ("path: none\ntrain: none\nnames: [car]", "path", "folder of the archive"),
        (YAML + "kpt_shape: [17, 3]", "kpt_shape", "labels of poses"),
        (HEAD + "names: {person: 0, car: 1}", "names", "got 'person'; are name and number swapped?"),
        (HEAD + "names: {person: x}", "names", "such as `0: person`, got 'person'"),
    ],
)
def test_refuses_a_field_and_says_which(tmp_path: Path, text: str, field: str, expected: str) -> None:
    problems = refuse_yaml(tmp_path, text)
    assert expected in problems[f"data.yaml: {field}"]


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b\n",
        "a: [",
        "a: \x00",
        "!!python/object/apply:os.system ['touch ran']",
        "a: &x [1]\nb: *x",
        "a: &a {b: 1}\n<<: *a",
        "[" * 1200,
        "names: 2024-99-99",
        "? [1, 2]\n: 3",
    ],
)
def test_refuses_what_is_no_plain_mapping(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(refuse_yaml(tmp_path, text)) == ["data.yaml"]
    assert not (tmp_path / "ran").exists()


def test_refuses_a_huge_yaml(tmp_path: Path) -> None:
    make_dataset(tmp_path / "made", YAML + "#" * (2 << 20))
    with pytest.raises(DatasetError, match="at most 1048576 bytes"):
        open_dataset(tmp_path / "made", tmp_path / "cache")


def test_refuses_none_and_several_yamls(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "made", None)
    with pytest.raises(DatasetError, match="recognised YOLO labels without class names"):
        open_dataset(made, tmp_path / "cache")
    (made / "x.yaml").write_text(YAML)
    assert open_dataset(made, tmp_path / "cache").names == ("car", "person")
    (made / "y.yaml").write_text(YAML)
    with pytest.raises(DatasetError, match=r"got x\.yaml, y\.yaml"):
        open_dataset(made, tmp_path / "cache")
    (made / "dataset.yaml").write_text(YAML)
    (made / "deeper").mkdir()
    (made / "deeper" / "data.yaml").write_text("no: thing")
    assert open_dataset(made, tmp_path / "cache").names == ("car", "person")


def test_reads_names_by_number_and_roboflows_paths(tmp_path: Path) -> None:
    root = tmp_path / "made"
    for split in ("train", "valid"):
        make_image(root / split / "images" / "a.jpg")
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: {1: b, 0: a}\n")
    dataset = open_dataset(zip_up(root, tmp_path / "a.zip"), tmp_path / "cache")
    assert dataset.names == ("a", "b")
    assert dataset.images("val") == [dataset.root / "valid/images/a.jpg"]


def test_finds_annotations(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "made")
    (made / "annotations").mkdir()
    (made / "annotations" / "val.json").write_text("{}")
    (made / "annotations" / "test.json").write_text("{}")
    dataset = open_dataset(made, tmp_path / "cache")
    assert dataset.annotations == {"val": made / "annotations" / "val.json"}


def test_a_folders_hash_is_its_contents(tmp_path: Path) -> None:
    first = open_dataset(make_dataset(tmp_path / "one"), tmp_path / "cache")
    second = open_dataset(make_dataset(tmp_path / "two"), tmp_path / "cache")
    assert first.sha256 == second.sha256
    (tmp_path / "two" / "labels" / "val" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    assert open_dataset(tmp_path / "two" / "data.yaml", tmp_path / "cache").sha256 != first.sha256


def test_says_what_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no zip")
    for path, expected in ((tmp_path / "none.zip", "nothing there"), (tmp_path / "a.zip", "readable zip")):
        with pytest.raises(DatasetError, match=expected):
            open_dataset(path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "train", "val", "annotated"),
    [("hit_uav_tiny", 48, 16, True), ("aerial_cars", 37, 12, False)],
)
def test_opens_real_uploads(tmp_path: Path, name: str, train: int, val: int, annotated: bool) -> None:
    dataset: Dataset = open_dataset(need(f"data/{name}.zip"), tmp_path)
    assert (len(dataset.images("train")), len(dataset.images("val"))) == (train, val)
    assert set(dataset.annotations) == ({"train", "val"} if annotated else set())


def test_refuses_a_real_upload_whose_class_numbers_have_gaps(tmp_path: Path) -> None:
    problems = refusal(need("data/coco4_json_yolo.zip"), tmp_path / "cache")
    assert problems[0].where == "dataset.yaml: names"
    assert "11, 25, 28, 29, 44, 65, 67, 68, 70 are missing" in problems[0].detail
