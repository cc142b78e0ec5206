import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from rdrkd.data import coco, open_dataset, visdrone, yolo
from rdrkd.data.check import check
from rdrkd.data.frames import Box
from rdrkd.data.scenes import NAMES, Profile, fit_visdrone, frame_size, render, town, write_scenes
from rdrkd.data.scenes.figures import LEVELS, Figures, draw
from rdrkd.data.scenes.figures import visdrone as figures
from rdrkd.data.scenes.sprites import PERSONS, VEHICLES, sprite
from rdrkd.data.scenes.visdrone import objects
from rdrkd.errors import DatasetError
from tests.shared import need

PROFILES: tuple[Profile, ...] = ("demo", "visdrone", "shapes")
Sampled = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]  # each scene's labels and boxes
SIZES = {"demo": 160, "visdrone": 480, "shapes": 96}


def digests(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_seed_writes_the_same_bytes(tmp_path: Path, profile: Profile) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        write_scenes(tmp_path / name, profile, {"train": 3, "val": 1}, SIZES[profile], seed)
    one, two, three = (digests(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert len(one) == 1 + 2 + 4 * 3
    images = [name for name in one if name.endswith(".jpg")]
    assert len({one[name] for name in images}) == 4
    assert all(one[name] != three[name] for name in images)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_scene_depends_on_nothing_but_its_number(tmp_path: Path, profile: Profile) -> None:
    few = digests(write_scenes(tmp_path / "few", profile, {"val": 1, "train": 1}, SIZES[profile]).parent)
    many = digests(write_scenes(tmp_path / "many", profile, {"train": 3, "val": 1}, SIZES[profile]).parent)
    shared = [name for name in few if re.search(r"(labels|images|visdrone)/", name)]
    assert len(shared) == 6
    assert all(few[name] == many[name] for name in shared)


@pytest.mark.parametrize("profile", PROFILES)
def test_is_a_sound_dataset_whose_formats_agree(tmp_path: Path, profile: Profile) -> None:
    dataset = open_dataset(write_scenes(tmp_path / "d", profile, {"train": 4, "val": 2}, SIZES[profile], 1), tmp_path)
    assert dataset.names == NAMES[profile]
    found = check(dataset)
    assert found.problems == []
    width, height = frame_size(profile, SIZES[profile])
    for split in ("train", "val"):
        for frame in coco.read(dataset.annotations[split], dataset.names):
            stem = Path(frame.file).stem
            from_yolo = yolo.read(
                dataset.root / "labels" / split / f"{stem}.txt", stem, width, height, len(dataset.names)
            )
            from_visdrone = visdrone.read(dataset.root / "visdrone" / split / f"{stem}.txt", stem, width, height)
            assert same(from_visdrone.boxes) == same(frame.boxes)
            assert same(from_yolo.boxes) == same(b for b in frame.boxes if not b.ignored)
            assert all(b.x >= 0 and b.y >= 0 for b in frame.boxes)
            assert all(b.x + b.width <= width and b.y + b.height <= height for b in frame.boxes)


def same(boxes: object) -> list[tuple[object, ...]]:
    assert not isinstance(boxes, str)
    return sorted(
        (str(b.label), round(b.x), round(b.y), round(b.width), round(b.height), b.ignored)
        for b in boxes  # type: ignore[attr-defined]
    )


def test_writes_the_formats_that_are_asked_for(tmp_path: Path) -> None:
    write_scenes(tmp_path / "d", "demo", {"train": 1}, (96, 64), formats=("yolo",))
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["data.yaml", "images", "labels"]
    (image,) = (tmp_path / "d/images/train").iterdir()
    assert cv2.imread(str(image)).shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"profile": "none"}, "profile: expected one of visdrone, demo, shapes"),
        ({"images": {}}, "images: expected"),
        ({"images": {"train": 0}}, "images: expected"),
        ({"images": {"training": 3}}, "images: expected"),
        ({"imgsz": 32}, "imgsz: expected sides of 64 to 8192 px, got 32x32"),
        ({"imgsz": (96, 9000)}, "imgsz: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"formats": ("voc",)}, "formats: expected"),
    ],
)
def test_refuses_what_cannot_be_drawn(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    arguments = {"profile": "demo", "images": {"train": 1}, "imgsz": 96, "seed": 0} | change
    with pytest.raises(DatasetError, match=re.escape(expected)):
        write_scenes(tmp_path / "d", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(DatasetError, match="which is not empty"):
        write_scenes(tmp_path, "demo", {"train": 1}, 96)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    (tmp_path / "empty").mkdir()
    assert write_scenes(tmp_path / "empty", "demo", {"train": 1}, 96).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_boxes_lie_on_what_is_drawn(profile: Profile) -> None:
    """Each object that nothing hides reaches to all four sides of its box, to a pixel, and stands out of the ground."""
    measured = 0
    for index in range(6):
        made = render(profile, {"demo": 160, "visdrone": 960, "shapes": 160}[profile], 5, "train", index)
        counted = [b for b in made.frame.boxes if b.label is not None]
        for number, box in enumerate(counted):
            ys, xs = np.nonzero(made.drawn.owner == number)
            if box.occlusion == 0 and not box.ignored and min(box.width, box.height) >= 4:
                extent = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                expected = np.array([box.x, box.y, box.x + box.width, box.y + box.height])
                assert np.abs(extent - expected).max() <= 1
                measured += 1
            if len(xs):
                assert xs.min() >= box.x
                assert ys.max() < box.y + box.height
    assert measured > {"demo": 20, "visdrone": 150, "shapes": 8}[profile]


def test_objects_stand_out_of_the_ground() -> None:
    contrasts = []
    for index in range(10):
        made = render("demo", 160, 6, "train", index)
        for number, box in enumerate(made.frame.boxes):
            inside = made.drawn.owner == number
            pad = np.zeros_like(inside)
            pad[
                max(int(box.y) - 4, 0) : int(box.y + box.height) + 4,
                max(int(box.x) - 4, 0) : int(box.x + box.width) + 4,
            ] = 1
            around = pad & (made.drawn.owner < 0)
            contrasts.append(np.abs(made.image[inside].mean(axis=0) - made.image[around].mean(axis=0)).max())
    assert min(contrasts) > 15
    assert float(np.median(contrasts)) > 50


def test_hidden_objects_are_graded() -> None:
    grades = Counter(
        (b.occlusion, b.ignored)
        for index in range(12)
        for b in render("visdrone", 640, 2, "train", index).frame.boxes
        if b.label is not None
    )
    assert grades[0, False] > 0.6 * grades.total()
    assert grades[1, False] > 0
    assert sum(n for (_, ignored), n in grades.items() if ignored) < 0.03 * grades.total()


def test_demo_objects_have_the_stated_sizes_and_keep_apart() -> None:
    labels: Counter[int | None] = Counter()
    for index in range(80):
        frame = render("demo", 176, 0, "train", index).frame
        assert 2 <= len(frame.boxes) <= 8
        for box in frame.boxes:
            labels[box.label] += 1
            assert 12 <= max(box.width, box.height) <= 48
    assert set(labels) == set(range(4))
    assert min(labels.values()) > 0.15 * labels.total()


def test_shapes_have_the_stated_sizes_and_their_colours_tell_nothing() -> None:
    colours: dict[int | None, list[npt.NDArray[np.float64]]] = {}
    for index in range(150):
        made = render("shapes", 96, 0, "train", index)
        assert 1 <= len(made.frame.boxes) <= 4
        for number, box in enumerate(made.frame.boxes):
            assert 10 <= max(box.width, box.height) <= 30
            if (made.drawn.owner == number).any():
                colours.setdefault(box.label, []).append(made.image[made.drawn.owner == number].mean(axis=0))
    assert set(colours) == set(range(4))
    means = np.array([np.mean(each, axis=0) for each in colours.values()])
    within = np.mean([np.std(each, axis=0) for each in colours.values()])
    assert np.ptp(means, axis=0).max() < within  # in `demo`, the classes' means are twice as far apart
    assert min(map(len, colours.values())) > 0.15 * sum(map(len, colours.values()))


def sample(count: int, width: int, height: int) -> Sampled:
    made = []
    for index in range(count):
        rng = np.random.default_rng([17, index])
        made.append(objects(rng, width, height, town.build(rng, width, height)))
    return made


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    return sample(300, 1400, 1050)


def distance(values: npt.NDArray[np.float64], quantiles: list[float]) -> float:
    """Kolmogorov-Smirnov distance of values to a distribution given by its quantiles, measured at these."""
    shares = [float((values <= quantile).mean()) for quantile in quantiles]
    below = [float((values < quantile).mean()) for quantile in quantiles]
    # A value that occurs often (a count) makes the distribution jump: the quantile lies between both.
    return max(max(low - level, level - high, 0.0) for level, high, low in zip(LEVELS, shares, below, strict=True))


def test_numbers_and_classes_follow_the_figures(
    sampled: Sampled,
) -> None:
    counts = np.array([len(labels) for labels, _ in sampled], dtype=np.float64)
    # 1.63 / sqrt(n) is the 1 % bound of the Kolmogorov-Smirnov test.
    assert distance(counts, figures().objects_per_image) < 1.63 / len(counts) ** 0.5
    assert abs(counts.mean() - 53.0) < 8
    labels = np.concatenate([labels for labels, _ in sampled])
    shares = np.bincount(labels, minlength=10) / len(labels)
    expected = np.array([figures().class_share[name] for name in visdrone.NAMES])
    assert np.abs(shares - expected).max() < 0.05
    assert [visdrone.NAMES[k] for k in np.argsort(-shares)[:2]] == ["car", "pedestrian"]


def test_sizes_and_shapes_follow_the_figures(
    sampled: Sampled,
) -> None:
    labels = np.concatenate([labels for labels, _ in sampled])
    boxes = np.concatenate([boxes for _, boxes in sampled]).astype(np.float64)
    size = (boxes[:, 2] * boxes[:, 3]) ** 0.5 / 1400
    aspect = boxes[:, 2] / boxes[:, 3]
    for k, name in enumerate(visdrone.NAMES):
        # Objects of one image share its altitude: there are only as many independent sizes as images with the class.
        images = sum(bool((of_image == k).any()) for of_image, _ in sampled)
        assert distance(size[labels == k], figures().size[name]) < 1.63 / images**0.5, name
        assert abs(np.median(aspect[labels == k]) / draw(figures().aspect[name], 0.5) - 1) < 0.1, name
    small = float((size * 1400 < 32).mean())
    assert 0.45 < small < 0.75


def test_size_grows_towards_the_bottom(sampled: Sampled) -> None:
    cars = [(boxes[labels == 3, 1], boxes[labels == 3, 2] * boxes[labels == 3, 3]) for labels, boxes in sampled]
    upper = np.concatenate([area[y < 300] for y, area in cars])
    lower = np.concatenate([area[y > 600] for y, area in cars])
    assert np.median(lower) > 2 * np.median(upper)


def test_refitting_the_scenes_gives_the_figures_back(sampled: Sampled) -> None:
    """What is drawn from the figures measures like what they were measured on, in what the quantiles do not say too."""
    images = []
    for labels, boxes in sampled:
        corner = Box(None, 0, 0, 1400, 1050, ignored=True)  # so that the frame's size is seen
        rows = zip(labels.tolist(), boxes.tolist(), strict=True)
        images.append([corner, *(Box(k, x, y, w, h) for k, (x, y, w, h) in rows)])
    again, first = fit_visdrone.fit(images), figures()
    assert again.size_shared == pytest.approx(first.size_shared, abs=0.08)
    assert again.size_by_row == pytest.approx(first.size_by_row, abs=0.08)
    assert again.class_concentration == pytest.approx(first.class_concentration, rel=0.3)


@pytest.mark.slow
def test_the_committed_figures_are_what_the_real_annotations_measure() -> None:
    archive = need("data/VisDrone2019-DET_annotations_train_val_testdev.tar.gz")
    assert fit_visdrone.fit(fit_visdrone.read_annotations(archive)) == figures()


def test_figures_are_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tarfile

    folder = tmp_path / "VisDrone2019-DET-train" / "annotations"
    folder.mkdir(parents=True)
    for name in "ab":
        lines = [f"{10 * k},{9 * k},{5 + k},{6 + k},1,{category},0,0" for k in (1, 2, 9) for category in range(1, 11)]
        (folder / f"{name}.txt").write_text("\n".join([*lines, "0,0,30,40,0,0,0,0"]))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as opened:
        opened.add(tmp_path / "VisDrone2019-DET-train", "VisDrone2019-DET-train")
    assert fit_visdrone.main([str(tmp_path / "a.tar.gz")]) == 0
    found = Figures(**json.loads(capsys.readouterr().out))
    assert found.objects_per_image == [30.0] * len(LEVELS)
    assert found.ignored_per_image == [1.0] * len(LEVELS)
    assert found.class_share["bus"] == 0.1
    assert fit_visdrone.main([]) == 2


@pytest.mark.parametrize("name", sorted(set(VEHICLES) | set(PERSONS)))
@pytest.mark.parametrize("size", [(2, 3), (12, 30), (41, 17), (120, 60)])
def test_sprites_fill_their_box(name: str, size: tuple[int, int]) -> None:
    colour, alpha = sprite(name, np.random.default_rng(1), *size)
    assert colour.shape == (size[1], size[0], 3)
    assert alpha.shape == (size[1], size[0])
    covered = np.nonzero(alpha > 0.02)
    assert (covered[0].min(), covered[0].max() + 1, covered[1].min(), covered[1].max() + 1) == (0, size[1], 0, size[0])


@pytest.mark.slow
def test_demo_scenes_are_learnt(tmp_path: Path) -> None:
    from ultralytics import YOLO

    file = write_scenes(tmp_path / "d", "demo", {"train": 300, "val": 60}, 128)
    open_dataset(file, tmp_path).write_yaml(tmp_path / "ours.yaml")
    trained = YOLO("yolov8n.yaml").train(
        data=str(tmp_path / "ours.yaml"), epochs=6, imgsz=128, batch=8, optimizer="AdamW", lr0=2e-3, mosaic=0,
        warmup_epochs=1, workers=0, device="cpu", project=str(tmp_path / "runs"), plots=False, verbose=False, seed=0,
    )  # fmt: skip
    assert trained.box.map50 > 0.25  # 0.41 when this was written; untrained weights have 0
