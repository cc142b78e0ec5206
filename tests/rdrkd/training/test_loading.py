"""The images of a training are a function of seed, epoch and index, whoever loads them."""

import os
import random
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rdrkd.data import Dataset
from rdrkd.data.loaded import loaded
from rdrkd.training.loading import EpochOrder, Seeded, seed_everything, training_loader
from rdrkd.ultralytics_adapter import default_arguments

CPU = torch.device("cpu")


def seeded(dataset: Dataset, seed: int = 3, **arguments: Any) -> Seeded:
    args = default_arguments(imgsz=64, **arguments)
    with tempfile.TemporaryDirectory() as folder:
        dataset.write_yaml(Path(folder, "data.yaml"))
        data = {"names": dict(enumerate(dataset.names)), "nc": len(dataset.names), "yaml_file": f"{folder}/data.yaml"}
        images = loaded(args, f"{folder}/data.train.txt", 4, data, "train", rect=False, stride=32)
    return Seeded(images, seed)


def epochs(dataset: Seeded, count: int, start: int = 0, workers: int = 0, **order: Any) -> list[list[torch.Tensor]]:
    """The image batches of some epochs."""
    tickets = EpochOrder(len(dataset), dataset.seed, shuffle=True, **order)
    tickets.epoch = start
    loader = training_loader(dataset, tickets, 4, workers, CPU, drop_last=False)
    try:
        return [[batch["img"] for batch in loader] for _ in range(count)]
    finally:
        loader.close()


def equal(one: list[list[torch.Tensor]], other: list[list[torch.Tensor]]) -> bool:
    return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


# --- the order ---


def test_each_epoch_holds_every_image_once_in_an_order_of_its_own() -> None:
    order = EpochOrder(10, seed=1, shuffle=True)
    first, second = list(order), list(order)
    assert sorted(first) == list(range(10))
    assert sorted(second) == list(range(10, 20))
    assert [ticket - 10 for ticket in second] != first != list(range(10))


def test_without_shuffling_the_order_is_that_of_the_files() -> None:
    assert list(EpochOrder(4, seed=1, shuffle=False)) == [0, 1, 2, 3]


def test_the_seed_decides_the_order() -> None:
    one, two, other = (list(EpochOrder(20, seed, shuffle=True)) for seed in (1, 1, 2))
    assert one == two != other


@pytest.mark.parametrize(("images", "ranks"), [(10, 2), (11, 2), (7, 3), (2, 3)])
def test_ranks_share_an_epoch_in_equal_parts(images: int, ranks: int) -> None:
    parts = [list(EpochOrder(images, 1, shuffle=True, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert {len(part) for part in parts} == {len(EpochOrder(images, 1, True, 0, ranks))}
    assert {ticket for part in parts for ticket in part} == set(range(images))


# --- the images ---


@pytest.mark.parametrize("cache", [False, "ram"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_is_the_same_after_a_resume(workers: int, cache: Any, dataset: Dataset) -> None:
    straight = epochs(seeded(dataset, cache=cache), 3, workers=workers)
    resumed = epochs(seeded(dataset, cache=cache), 2, start=1, workers=workers)
    assert equal(straight[1:], resumed)
    assert not equal(straight[:2], straight[1:])


def test_with_images_in_memory_the_number_of_processes_does_not_matter(dataset: Dataset) -> None:
    one, two = (epochs(seeded(dataset, cache="ram"), 2, workers=workers) for workers in (0, 2))
    assert equal(one, two)


def test_numbers_drawn_between_the_batches_do_not_matter(dataset: Dataset) -> None:
    undisturbed = epochs(seeded(dataset), 1)
    data = seeded(dataset)
    loader = training_loader(data, EpochOrder(len(data), data.seed, shuffle=True), 4, 0, CPU, drop_last=False)
    disturbed = []
    for batch in loader:
        disturbed.append(batch["img"])
        random.random(), np.random.rand(3), torch.rand(3)
    assert equal(undisturbed, [disturbed])


def test_other_seeds_give_other_images(dataset: Dataset) -> None:
    assert not equal(epochs(seeded(dataset, seed=1), 1), epochs(seeded(dataset, seed=2), 1))


def partners(data: Seeded, ticket: int) -> list[int]:
    """The images that an image's mosaic is made of, beside itself."""
    asked: list[int] = []
    inner = data.dataset
    original = inner.get_image_and_label

    def note(index: int) -> Any:
        asked.append(index)
        return original(index)

    inner.get_image_and_label = note
    try:
        data[ticket]
    finally:
        inner.get_image_and_label = original
    return asked[1:]


def test_mosaic_draws_from_the_present_epoch_alone(dataset: Dataset) -> None:
    data, fresh = seeded(dataset), seeded(dataset)
    for ticket in range(len(data)):
        data[ticket]
    assert partners(data, len(data) + 5) == partners(fresh, len(fresh) + 5), "whatever was loaded in the epoch before"
    loaded = [index for index, image in enumerate(data.ims) if image is not None]
    assert len(loaded) <= 4, "nothing of the epoch before is kept"


@pytest.mark.parametrize("cache", [False, "ram"])
def test_the_first_mosaics_of_an_epoch_are_made_of_many_images(cache: Any, dataset: Dataset) -> None:
    found = [partners(seeded(dataset, cache=cache), epoch * 12 + index) for epoch in range(5) for index in range(2)]
    assert {len(own) for own in found} == {3}
    assert len({image for own in found for image in own}) > 6
    assert sum(len(set(own)) for own in found) / len(found) > 2


def test_a_loader_of_one_batch_has_no_processes(dataset: Dataset) -> None:
    data = seeded(dataset)
    loader = training_loader(data, EpochOrder(len(data), 1, shuffle=True), 100, 8, CPU, drop_last=True)
    assert (loader.num_workers, len(loader)) == (0, 1)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch sees how many cores there are
@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("workers", [0, 1, 5, 64])
def test_a_rank_has_as_many_loader_processes_as_ultralytics_gives_it(
    workers: int, gpus: int, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.data.build import build_dataloader

    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    data, gpu = seeded(dataset), torch.device("cuda", 0)
    order = EpochOrder(len(data), 1, shuffle=True, rank=0, ranks=1)
    ours = training_loader(data, order, 1, workers, gpu, drop_last=False).num_workers
    assert ours == build_dataloader(data.dataset, 1, workers, device=gpu).num_workers
    assert ours == min(workers, 12 // gpus)


def test_what_ultralytics_reads_of_a_dataset_is_there(dataset: Dataset, tmp_path: Path) -> None:
    import pickle

    data = seeded(dataset)
    assert len(data.labels) == len(data) == 12
    assert pickle.loads(pickle.dumps(data)).seed == data.seed
    with pytest.raises(AttributeError):
        _ = data.no_such_thing


def test_everything_is_seeded() -> None:
    def numbers(*seed: int) -> tuple[float, float, float]:
        seed_everything(*seed)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert numbers(1, 2, 3) == numbers(1, 2, 3)
    assert all(a != b for a, b in zip(numbers(1, 2, 3), numbers(1, 3, 2), strict=True))


def test_ultralytics_word_on_the_epoch_changes_nothing() -> None:
    order = EpochOrder(3, 1, shuffle=True)
    list(order)
    order.set_epoch(0)  # what comes next has been asked for ahead of time
    assert min(order) == 3
    assert SimpleNamespace(order=order).order.epoch == 2
