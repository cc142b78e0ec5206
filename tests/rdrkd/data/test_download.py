"""The download of VisDrone, from a server of our own: tiny zips of the same names and layout."""

import functools
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdrkd.data import open_dataset
from rdrkd.data.download import fetch_visdrone
from rdrkd.errors import DatasetError
from tests.rdrkd.data.crafted import make_image


class Server(http.server.ThreadingHTTPServer):
    """Counts what is asked for."""

    asked: list[str]


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    image = make_image(tmp_path / "image.jpg", 64, 48)
    for name in ("VisDrone2019-DET-train", "VisDrone2019-DET-val"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.write(image, f"{name}/images/0001.jpg")
            archive.writestr(f"{name}/annotations/0001.txt", "1,2,10,8,1,4,0,0\n20,20,10,10,0,0,0,0\n")
    with Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as running:
        running.asked = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_visdrone_is_downloaded_once_and_keeps_its_ignored_regions(server: Server, tmp_path: Path) -> None:
    made = fetch_visdrone(tmp_path / "datasets", address(server))
    dataset = open_dataset(made, tmp_path / "cache")
    assert dataset.names[3] == "car"
    assert set(dataset.splits) == set(dataset.annotations) == {"train", "val"}
    annotations = json.loads(dataset.annotations["val"].read_text())["annotations"]
    assert sum(annotation["iscrowd"] for annotation in annotations) == len(dataset.names)  # a crowd of every class
    assert len((made.parent / "labels" / "val" / "0001.txt").read_text().splitlines()) == 1
    asked = len(server.asked)
    assert asked >= 2
    assert fetch_visdrone(tmp_path / "datasets", address(server)) == made
    assert len(server.asked) == asked


def test_where_it_cannot_be_had_the_address_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "served" / "VisDrone2019-DET-val.zip").unlink()
    with pytest.raises(DatasetError, match=r"expected VisDrone at http://127\.0\.0\.1:\d+/VisDrone2019-DET-val\.zip"):
        fetch_visdrone(tmp_path / "datasets", address(server))
    assert not (tmp_path / "datasets" / "VisDrone").exists()
