"""The figures of epochs: chosen, thinned out, turned into columns and CSV."""

import csv
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.jobs.metrics.service import sample
from api.tables.states import Status
from tests.api.conftest import Service


def trained(service: Service, *losses: float) -> str:
    """Return a job with an epoch for each of these losses."""
    held = service.bring(service.job(train={"epochs": 3}), Status.RUNNING)
    for number, loss in enumerate(losses, 1):
        diagnostics = {"ld/ratio": 0.5, "ld/cosine": 0.1} if number > 1 else {}
        figures = {"losses": {"box": loss, "ld": 1.0}, "weights": {"ld": 2.0}, "diagnostics": diagnostics}
        service.epoch(held, number, **figures)
    return held.id


def rows(service: Service, job_id: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.client.get(f"/v1/jobs/{job_id}/metrics", params=query).json()["data"]
    return found


def place(epoch: int) -> dict[str, Any]:
    """Return the fields of an epoch of a job that trains one network for three epochs."""
    return {"attempt": 1, "part": "student", "epoch": epoch, "part_epoch": epoch, "part_epochs": 3}


def test_some_series_of_some_epochs(each_service: Service) -> None:
    job_id = trained(each_service, 3.0, 2.0, 1.0)

    assert rows(each_service, job_id, name=["losses/box", "lr"], from_epoch=2) == [
        {**place(2), "epochs": 3, "losses": {"box": 2.0}, "lr": 0.01},
        {**place(3), "epochs": 3, "losses": {"box": 1.0}, "lr": 0.01},
    ]
    assert rows(each_service, job_id, name="diagnostics/ld", from_epoch=3) == [
        {**place(3), "epochs": 3, "diagnostics": {"ld/ratio": 0.5, "ld/cosine": 0.1}}
    ]
    assert [set(row) for row in rows(each_service, job_id, name="losses")] == [
        {*place(1), "epochs", "losses"}
    ] * 3  # fmt: skip
    assert rows(each_service, job_id, name="losses/none", from_epoch=3) == [{**place(3), "epochs": 3}]
    assert rows(each_service, job_id, from_epoch=4) == []


def test_columns(each_service: Service) -> None:
    job_id = trained(each_service, 3.0, 2.0)

    columns = each_service.client.get(f"/v1/jobs/{job_id}/metrics?format=columns").json()["data"]

    assert columns == {
        "epoch": [1, 2], "attempt": [1, 1], "part": ["student"] * 2, "part_epoch": [1, 2],
        "metrics/mAP50": [10.0, 20.0],
        "losses/box": [3.0, 2.0], "losses/ld": [1.0, 1.0], "weights/ld": [2.0, 2.0],
        "diagnostics/ld/ratio": [None, 0.5],
        "diagnostics/ld/cosine": [None, 0.1], "lr": [0.01, 0.01], "seconds": [2.0, 2.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("?format=csv", "*/*", "text/csv"),
        ("", "text/csv", "text/csv"),
        ("", "application/json, text/csv", "application/json"),
        ("?format=rows", "text/csv", "application/json"),
    ],
)
def test_csv_by_query_or_header(service: Service, query: str, accept: str, kind: str) -> None:
    job_id = trained(service, 3.0, 2.0)

    response = service.client.get(f"/v1/jobs/{job_id}/metrics{query}", headers={"Accept": accept})

    assert response.headers["Content-Type"].partition(";")[0] == kind
    if kind == "text/csv":
        table = list(csv.DictReader(response.text.splitlines()))
        assert [(row["epoch"], row["losses/box"], row["diagnostics/ld/ratio"]) for row in table] == [
            ("1", "3.0", ""), ("2", "2.0", "0.5")
        ]  # fmt: skip
        assert f"{job_id}-metrics.csv" in response.headers["Content-Disposition"]


def test_a_job_without_epochs_has_an_empty_table(service: Service) -> None:
    job_id = service.job()

    assert service.client.get(f"/v1/jobs/{job_id}/metrics?format=csv").text == "epoch,attempt,part,part_epoch\r\n"
    columns = service.client.get(f"/v1/jobs/{job_id}/metrics?format=columns").json()
    assert columns["data"] == {"epoch": [], "attempt": [], "part": [], "part_epoch": []}
    assert rows(service, job_id, downsample=2) == []


def test_thinned_out_the_ends_and_the_extremes_stay(each_service: Service) -> None:
    losses = [5.0] * 30
    losses[11], losses[23] = 9.0, 1.0
    job_id = trained(each_service, *losses)

    thin = rows(each_service, job_id, downsample=8, name="losses/box")

    epochs = [row["epoch"] for row in thin]
    assert len(epochs) == 8
    assert epochs == sorted(epochs)
    assert {1, 12, 24, 30} <= set(epochs)
    assert rows(each_service, job_id, downsample=30) == rows(each_service, job_id)
    assert [row["epoch"] for row in rows(each_service, job_id, downsample=2)] == [1, 30]


@pytest.mark.slow
@given(
    st.lists(st.lists(st.none() | st.floats(), min_size=40, max_size=40), max_size=5),
    st.integers(2, 39),
)
def test_a_sample_is_as_large_as_asked_for(series: list[list[float | None]], most: int) -> None:
    chosen = sample(40, series, most)

    assert len(chosen) == len(set(chosen)) == most
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, 39)
    known = [value for value in (series[0] if series else []) if value is not None and abs(value) < float("inf")]
    if known and most >= 4:
        assert {max(known), min(known)} <= {series[0][index] for index in chosen}


@pytest.mark.parametrize(
    "query", ["name=loss", "name=lossesx/a", "name=losses/%00", "from_epoch=0", "downsample=1", "format=xml"]
)
def test_bad_queries_name_the_parameter(steady: Service, query: str) -> None:
    response = steady.client.get(f"/v1/jobs/x/metrics?{query}")

    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_the_epochs_of_a_baseline_are_named_and_counted_on_their_own(each_service: Service) -> None:
    held = each_service.with_baseline(epochs=2)
    for epoch in (1, 2, 3, 4):
        each_service.epoch(held, epoch, part="student" if epoch < 3 else "alone")

    both = rows(each_service, held.id, name="lr")
    assert [(row["epoch"], row["part"], row["part_epoch"], row["part_epochs"]) for row in both] == [
        (1, "student", 1, 2), (2, "student", 2, 2), (3, "alone", 1, 2), (4, "alone", 2, 2)
    ]  # fmt: skip
    assert rows(each_service, held.id, name="lr", part="student") == both[:2]
    assert rows(each_service, held.id, name="lr", part="alone") == both[2:]
    query = "format=columns&part=alone&name=metrics"
    assert each_service.client.get(f"/v1/jobs/{held.id}/metrics?{query}").json()["data"] == {
        "epoch": [3, 4], "attempt": [1, 1], "part": ["alone"] * 2, "part_epoch": [1, 2], "metrics/mAP50": [30.0, 40.0]
    }  # fmt: skip
    assert each_service.client.get(f"/v1/jobs/{held.id}/metrics?part=teacher").status_code == 422
