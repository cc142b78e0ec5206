"""Uploads of datasets and models: streamed to the store, or refused with nothing left behind."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import NOBODY, ZIP, Service, Start, full_disk

BOUNDARY = "xyz"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(disposition: str, content: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FILE = part('name="file"; filename="a.zip"', b"content")


@pytest.mark.parametrize(
    ("feature", "filename", "suffix"),
    [
        ("datasets", "hit uav.ZIP", ".zip"),
        ("datasets", "a.b.tar.GZ", ".tgz"),
        ("datasets", "a.tgz", ".tgz"),
        ("datasets", "a.tar", ".tar"),
        ("models", "yolov5n.pt", ".pt"),
        ("models", "l.safetensors", ".safetensors"),
    ],
)
def test_an_upload_is_stored_under_its_hash(each_service: Service, feature: str, filename: str, suffix: str) -> None:
    content = b"some bytes" * 1000

    response = each_service.client.post(f"/v1/{feature}", files={"file": (filename, content)}, data={"name": "mine"})

    upload = response.json()
    sha256 = hashlib.sha256(content).hexdigest()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/v1/{feature}/{upload['id']}" == upload["links"]["self"]
    assert (upload["status"], upload["name"], upload["filename"]) == ("checking", "mine", filename)
    assert (upload["sha256"], upload["size"]) == (sha256, len(content))
    assert each_service.files() == [f"uploads/{sha256}{suffix}"]
    assert each_service.storage.verify(f"uploads/{sha256}{suffix}", sha256)
    assert each_service.client.get(upload["links"]["self"]).json() == upload


def test_a_check_ends_ready_or_invalid(each_service: Service) -> None:
    good, bad = each_service.upload(), each_service.upload("models", ("l.pt", b"weights"))
    each_service.settle()
    each_service.settle("expected a detector, got a pickle that would run code")

    dataset = each_service.client.get(f"/v1/datasets/{good}").json()
    model = each_service.client.get(f"/v1/models/{bad}").json()

    assert (dataset["status"], dataset["report"], dataset["problems"]) == ("ready", {"names": ["car"]}, [])
    assert model["status"] == "invalid"
    assert model["problems"][0]["detail"].startswith("expected a detector")
    assert model["checked_at"] >= model["created_at"]


def test_the_same_content_twice_is_two_rows_on_one_file(service: Service) -> None:
    first, second = service.upload(), service.upload()

    assert first != second
    assert len(service.files()) == 1
    assert [row["id"] for row in service.client.get("/v1/datasets").json()["data"]] == [second, first]


def test_pages(service: Service) -> None:
    uploads = [service.upload("models", (f"{n}.pt", b"x")) for n in range(3)]

    first = service.client.get("/v1/models?limit=2").json()
    second = service.client.get("/v1/models", params={"limit": 2, "after": first["next"]}).json()

    assert [row["id"] for row in first["data"] + second["data"]] == uploads[::-1]
    assert (first["has_more"], second["has_more"], second["next"]) == (True, False, None)


def test_larger_than_any_buffer(service: Service) -> None:
    content = bytes(range(256)) * 20_000  # 5 MB

    upload = service.client.post("/v1/datasets", files={"file": ("a.zip", content)}).json()

    assert (upload["size"], upload["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("body", "status", "code", "parameter"),
    [
        (form(), 422, "invalid", "file"),
        (form(part('name="name"', b"x")), 422, "invalid", "file"),
        (form(part('name="file"; filename="a.zip"', b"")), 422, "invalid", "file"),
        (form(part('name="file"', b"no name")), 422, "invalid", "file"),
        (form(FILE, FILE), 422, "invalid", "file"),
        (form(FILE, part('name="colour"', b"x")), 422, "invalid", "colour"),
        (form(FILE, part('name="name"', b"x"), part('name="name"', b"y")), 422, "invalid", "name"),
        (form(FILE, part('name="name"', b"x" * 201)), 422, "invalid", "name"),
        (form(FILE, part('name="name"', b"x" * 10_000)), 422, "invalid", "name"),
        (form(FILE, part('name="name"', b"nul\x00")), 422, "invalid", "name"),
        (form(FILE, part('name="lenient"', b"perhaps")), 422, "invalid", "lenient"),
        (form(FILE, part('name="lenient"', b"true"), part('name="lenient"', b"true")), 422, "invalid", "lenient"),
        (form(FILE, part('name="name"', b"\xff")), 422, "invalid", "name"),
        (form(part('name="file"; filename="a.rar"', b"x")), 415, "unsupported_media_type", None),
        (form(part('name="file"; filename=".zip"', b"x")), 415, "unsupported_media_type", None),
        (form(part('name="file"; filename=""', b"x")), 415, "unsupported_media_type", None),
        (FILE, 400, "bad_request", None),
        (FILE[:-20], 400, "bad_request", None),
        (b"no form at all", 400, "bad_request", None),
        (b"", 400, "bad_request", None),
    ],
)
def test_bad_forms_leave_nothing_behind(
    steady: Service, body: bytes, status: int, code: str, parameter: str | None
) -> None:
    response = steady.client.post("/v1/datasets", content=body, headers=FORM)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert parameter is None or problem["errors"][0]["parameter"] == parameter
    assert steady.files() == []
    assert steady.client.get("/v1/datasets").json()["data"] == []


@pytest.mark.parametrize("length", [71, 300, 20_000])
def test_a_boundary_beyond_the_standards_limit_is_refused(steady: Service, length: int) -> None:
    content_type = f"multipart/form-data; boundary={'x' * length}"

    response = steady.client.post("/v1/datasets", content=form(FILE), headers={"Content-Type": content_type})

    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert f"at most 70 bytes (RFC 2046), got {length}" in response.json()["detail"]
    assert steady.files() == []


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "application/zip", ""])
def test_other_bodies_are_refused(steady: Service, content_type: str) -> None:
    response = steady.client.post("/v1/models", content=b"PK", headers={"Content-Type": content_type})

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("../../etc/a.zip", "a.zip"), ("C:\\data\\b.zip", "b.zip"), ("/abs/c.zip", "c.zip"), ("x" * 400 + ".zip", None)],
)
def test_a_file_name_is_never_a_path(service: Service, sent: str, shown: str | None) -> None:
    body = form(part(f'name="file"; filename="{sent}"', b"x"))

    upload = service.client.post("/v1/datasets", content=body, headers=FORM).json()

    assert upload["filename"] == (shown or upload["filename"])
    assert len(upload["filename"]) <= 200
    assert upload["filename"].endswith(".zip")


def test_too_much_is_refused_by_its_announced_length_before_it_is_read(start: Start) -> None:
    def chunks() -> Iterator[bytes]:
        yield from ()
        pytest.fail("the body was read")

    with start(max_dataset_bytes=1000) as service:
        headers = FORM | {"Content-Length": "2000000"}
        response = service.client.post("/v1/datasets", content=chunks(), headers=headers)

        assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert service.files() == []


def test_too_much_is_refused_while_it_comes(start: Start) -> None:
    def chunks() -> Iterator[bytes]:
        yield FILE[:-9]
        for _ in range(100):
            yield bytes(100)

    with start(max_dataset_bytes=1000) as service:
        response = service.client.post("/v1/datasets", content=chunks(), headers=FORM)

        assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert service.files() == []
        assert service.client.post("/v1/datasets", files={"file": ("a.zip", bytes(1000))}).status_code == 202
        assert service.client.post("/v1/models", files={"file": ("a.pt", bytes(1001))}).status_code == 202


def test_a_full_disk_leaves_nothing_behind(service: Service) -> None:
    with full_disk(2**20):
        response = service.client.post("/v1/datasets", files={"file": ("a.zip", bytes(3 * 2**20))})

    assert (response.status_code, response.json()["code"]) == (503, "storage_full")
    assert int(response.headers["Retry-After"]) > 0
    assert service.files() == []
    assert service.client.get("/v1/datasets").json()["data"] == []
    assert service.client.post("/v1/datasets", files={"file": ZIP}).status_code == 202


def test_a_row_that_cannot_be_written_takes_its_file_along(service: Service) -> None:
    with service.database.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON dataset WHEN NEW.filename = 'new.zip' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    kept = service.upload(file=("old.zip", b"old"))

    response = service.client.post("/v1/datasets", files={"file": ("new.zip", b"new")})
    again = service.client.post("/v1/datasets", files={"file": ("new.zip", b"old")})

    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert again.status_code == 500
    assert [row["id"] for row in service.client.get("/v1/datasets").json()["data"]] == [kept]
    assert service.files() == [f"uploads/{hashlib.sha256(b'old').hexdigest()}.zip"]


def test_unknown_uploads(each_service: Service) -> None:
    for feature in ("datasets", "models"):
        for upload_id in (*NOBODY.values(), "%00", "x"):
            response = each_service.client.get(f"/v1/{feature}/{upload_id}")
            assert (response.status_code, response.json()["code"]) == (404, "not_found"), upload_id


def test_bad_queries(steady: Service) -> None:
    problem: dict[str, Any] = steady.client.get("/v1/datasets?limit=1000").json()

    assert (problem["code"], problem["errors"][0]["parameter"]) == ("invalid", "limit")
