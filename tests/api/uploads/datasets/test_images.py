"""Images of a dataset: listed by split, class and size, handed out one by one, gone with their dataset."""

from typing import Any

import pytest
from sqlalchemy import select

from api.tables.datasets import Dataset
from tests.api.conftest import Service
from tests.api.uploads.datasets.previews import PICTURE, PIECES, with_preview


@pytest.fixture(scope="module")
def drawn(steady: Service) -> str:
    return with_preview(steady)


def numbers(service: Service, dataset: str, **query: Any) -> list[int]:
    page = service.client.get(f"/v1/datasets/{dataset}/images", params=query).raise_for_status().json()
    return [image["number"] for image in page["data"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"split": "val"}, [3, 4]),
        ({"split": "test"}, []),
        ({"label": "van"}, [1, 3]),
        ({"size": "tiny"}, [0, 3]),
        ({"size": "small"}, [1]),
        ({"size": "large"}, [1]),
        ({"label": "van", "size": "large"}, []),
        ({"label": "car", "size": "medium", "split": "val"}, [4]),
    ],
    ids=lambda value: "-".join(value) or "all" if isinstance(value, dict) else "",
)
def test_they_are_found_by_split_class_and_size(
    steady: Service, drawn: str, query: dict[str, str], expected: list[int]
) -> None:
    assert numbers(steady, drawn, **query) == expected


def test_pages_follow_each_other_to_the_end(steady: Service, drawn: str) -> None:
    address, seen, after = f"/v1/datasets/{drawn}/images", [], None
    while True:
        query = {"limit": 2} | ({} if after is None else {"after": after})
        page = steady.client.get(address, params=query).raise_for_status().json()
        seen += [image["number"] for image in page["data"]]
        assert page["total"] == 5
        assert page["has_more"] == (page["next"] is not None)
        if (after := page["next"]) is None:
            break
    assert seen == [0, 1, 2, 3, 4]


def test_each_is_handed_out_whole_and_harmless(each_service: Service) -> None:
    dataset = with_preview(each_service)
    for number, piece in enumerate(PIECES):
        answer = each_service.client.get(f"/v1/datasets/{dataset}/images/{number}")
        assert (answer.status_code, answer.content) == (200, piece)
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert each_service.client.get(f"/v1/datasets/{dataset}/images/5").json()["code"] == "not_found"
    assert each_service.client.get(f"/v1/datasets/{dataset}/preview").content == PICTURE


def test_they_count_and_go_with_their_dataset(each_service: Service) -> None:
    dataset = with_preview(each_service)
    used = each_service.client.get("/v1/usage").json()["used"]
    assert used["previews"] == len(PICTURE) + sum(map(len, PIECES))
    assert f"previews/{dataset}.album" in each_service.files()
    assert each_service.client.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert each_service.files() == []
    assert each_service.client.get("/v1/usage").json()["used"]["previews"] == 0


def test_they_are_their_owners(service: Service) -> None:
    alice, bob = service.key("alice"), service.key("bob")
    service.client.headers.update(alice)
    dataset = with_preview(service)
    for tail in ("images", "images/0"):
        assert service.client.get(f"/v1/datasets/{dataset}/{tail}").status_code == 200
        assert service.client.get(f"/v1/datasets/{dataset}/{tail}", headers=bob).json()["code"] == "not_found"


def test_a_list_of_datasets_does_not_read_the_index(service: Service) -> None:
    dataset = with_preview(service)
    with service.database.transaction() as session:
        row = session.scalars(select(Dataset).where(Dataset.id == dataset)).one()
        assert "album" not in row.__dict__
