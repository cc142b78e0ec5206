import hashlib
import io
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rdrkd import pretrained
from rdrkd.errors import ModelError
from rdrkd.models import build
from rdrkd.pretrained import downloads, fetch
from rdrkd.spec import OFFICIAL
from tests.rdrkd.pretrained.conftest import Source

_FETCH = """
import pathlib, sys
from rdrkd.pretrained import fetch
fetch("yolov8n", pathlib.Path(sys.argv[1]), sys.argv[2])
"""


def a_zip(text: str = "weights", size: int = 100_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("yolov8n/data.pkl", text * size)
    return buffer.getvalue()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".yolov8n.pt.lock"}


def test_the_first_copy_is_pinned_and_used_again(source: Source, tmp_path: Path) -> None:
    source.content = a_zip()
    path = fetch("yolov8n", tmp_path, source.url)
    assert path.read_bytes() == source.content
    assert (tmp_path / "yolov8n.pt.sha256").read_text().strip() == hashlib.sha256(source.content).hexdigest()
    assert fetch("yolov8n", tmp_path, "") == path
    assert source.asked == ["/weights/yolov8n.pt"]
    assert names(tmp_path) == {"yolov8n.pt", "yolov8n.pt.sha256"}


def test_a_damaged_copy_is_replaced_by_the_pinned_content_only(source: Source, tmp_path: Path) -> None:
    source.content = a_zip()
    path = fetch("yolov8n", tmp_path, source.url)
    path.write_bytes(source.content[:-1] + b"x")
    fetch("yolov8n", tmp_path, source.url)
    assert path.read_bytes() == source.content
    path.unlink()
    source.content = a_zip("others")
    with pytest.raises(ModelError, match=r"sha256 .* instead of .* delete yolov8n.pt.sha256"):
        fetch("yolov8n", tmp_path, source.url)
    assert names(tmp_path) == {"yolov8n.pt.sha256"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": 404, "content": b"not found"}, "HTTP status 404"),
        ({"status": 200, "content": b"<html>please log in</html>"}, "no checkpoint of torch"),
        ({"content": a_zip()[:50_000], "announced": len(a_zip())}, "peer closed|incomplete"),
        ({"content": a_zip()[:-30], "announced": -1}, "no checkpoint of torch, .* the beginning of one"),
        ({"content": b""}, "no checkpoint of torch"),
        ({"fails": 9}, "HTTP status 503"),
    ],
    ids=["404", "portal", "cut_off", "cut_off_without_length", "empty", "503"],
)
def test_what_is_no_whole_file_leaves_nothing(
    change: dict[str, object], words: str, source: Source, tmp_path: Path
) -> None:
    vars(source).update(change)
    with pytest.raises(ModelError, match=words) as raised:
        fetch("yolov8n", tmp_path, source.url, "its folder")
    assert "put the file into its folder" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
    assert names(tmp_path) == set()


def test_a_server_that_stumbles_is_asked_again(source: Source, tmp_path: Path) -> None:
    source.content, source.fails = a_zip(), 2
    assert fetch("yolov8n", tmp_path, source.url).is_file()
    assert len(source.asked) == 3


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/yolov8n.pt", "http://169.254.169.254/latest/meta-data", "https://example.com/yolov8n.pt",
        "file:///etc/passwd", "//localhost/yolov8n.pt", "http://127.0.0.1.evil.example/yolov8n.pt",
    ],
)  # fmt: skip
def test_a_redirect_to_another_server_is_not_followed(location: str, source: Source, tmp_path: Path) -> None:
    source.status, source.location, source.content = 302, location, a_zip()
    with pytest.raises(ModelError, match=r"a redirect to .* none of its servers"):
        fetch("yolov8n", tmp_path, source.url)
    assert len(source.asked) == 1
    assert names(tmp_path) == set()


def test_a_loop_of_redirects_ends(source: Source, tmp_path: Path) -> None:
    source.status, source.location = 302, "/weights/yolov8n.pt"
    with pytest.raises(ModelError, match="more than 5 redirects"):
        fetch("yolov8n", tmp_path, source.url)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("https://release-assets.githubusercontent.com/a?sig=1", True),
        ("https://github.com/other", True),
        ("http://release-assets.githubusercontent.com/a", False),
        ("https://githubusercontent.com.evil.example/a", False),
        ("https://evilgithubusercontent.com/a", False),
        ("https://release-assets.githubusercontent.com:8443/a", False),
    ],
)
def test_where_the_official_source_may_redirect(host: str, allowed: bool) -> None:
    import httpx2

    source = httpx2.URL(pretrained.SOURCE)
    if allowed:
        assert str(downloads._allowed(source, source, host)) == host
    else:
        with pytest.raises(downloads.DownloadError, match="none of its servers"):
            downloads._allowed(source, source, host)


def test_a_file_without_an_end_is_given_up(source: Source, tmp_path: Path) -> None:
    source.content = bytes(3 << 20)
    with pytest.raises(downloads.DownloadError, match="more than 1 MiB"):
        downloads.download(f"{source.url}/x", tmp_path / "x", most_bytes=1 << 20)
    with pytest.raises(downloads.DownloadError, match="in the time that a download has"):
        downloads.download(f"{source.url}/x", tmp_path / "x", most_seconds=0)


def test_without_a_network_the_error_says_which_file_to_put_where(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but nothing listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ModelError, match=f"yolov8n.pt from {url}/yolov8n.pt, got: ConnectError"):
            fetch("yolov8n", tmp_path, url)
    with pytest.raises(ModelError, match="RDRKD_PRETRAINED_URL is empty"):
        fetch("yolov8n", tmp_path, "")
    (tmp_path / "yolov8n.pt").write_bytes(a_zip())
    assert fetch("yolov8n", tmp_path, "").is_file()
    assert (tmp_path / "yolov8n.pt.sha256").is_file()


def test_of_processes_that_fetch_together_one_downloads(source: Source, tmp_path: Path) -> None:
    source.content = a_zip()
    started = [subprocess.Popen([sys.executable, "-c", _FETCH, str(tmp_path), source.url]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(source.asked) == 1
    assert (tmp_path / "yolov8n.pt").read_bytes() == source.content


def test_secrets_of_a_mirror_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as raised:
        fetch("yolov8n", tmp_path, "http://user:hunter2@127.0.0.1:1/weights")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("architecture", [name for name in OFFICIAL if name.endswith("n")])
def test_the_card_is_what_the_network_shows(architecture: str) -> None:
    card = pretrained.card(architecture)
    model = build(architecture, card["names"])
    assert [int(stride) for stride in model.stride] == card["strides"]
    assert model.model[-1].reg_max == card["reg_max"]
