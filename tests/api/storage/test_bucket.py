"""What only a bucket does: parts, signatures, the cache beside it, and a server that is not there."""

import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import obstore
import pytest

from api.settings import Settings
from api.storage import StorageUnreachable, open_storage
from api.storage.bucket import PART, BucketStorage
from api.storage.cache import Cache
from api.storage.open import access_of
from api.storage.signing import Access, presign
from tests.s3 import S3

KEY = "jobs/job_1/attempt-1/epoch-3/student.pt"


def opened(folder: Path, settings: dict) -> BucketStorage:
    storage = open_storage(Settings(data_dir=folder / "var", **settings))
    assert isinstance(storage, BucketStorage)
    return storage


@pytest.fixture
def bucket(s3: S3, tmp_path: Path) -> BucketStorage:
    return opened(tmp_path, s3.settings())


def large(folder: Path) -> tuple[Path, str]:
    path = folder / "large.pt"
    path.write_bytes(os.urandom(2 * PART + 12_345))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["s3", "strict_s3"])
def test_a_large_file_goes_in_parts_and_comes_back(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bucket = opened(tmp_path, request.getfixturevalue(server).settings())
    path, sha256 = large(tmp_path)

    stored = bucket.put_file(path, KEY)

    assert (stored.sha256, stored.size) == (sha256, path.stat().st_size)
    if server == "s3":  # the other one forgets how a file has come
        assert obstore.head(bucket._store, KEY)["e_tag"].strip('"').endswith("-3")  # of three parts
    assert bucket.copy_to(KEY, sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_a_spooled_file_that_was_damaged_is_not_stored_in_any_part(bucket: BucketStorage, tmp_path: Path) -> None:
    path, _ = large(tmp_path)

    with pytest.raises(OSError, match="expected a spooled file with the sha256"):
        bucket.adopt(path, hashlib.sha256(b"other").hexdigest(), ".pt")

    assert list(bucket.stored()) == []


def test_the_condition_of_s3_says_who_was_first(bucket: BucketStorage, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"x")
    sha256 = hashlib.sha256(b"x").hexdigest()

    assert [bucket._send(tmp_path / "x.pt", f"uploads/{sha256}.pt", sha256)[2] for _ in range(2)] == [True, False]


MEMORY = """
import json, resource, sys
from pathlib import Path
from api.settings import Settings
from api.storage import open_storage
storage = open_storage(Settings(**json.loads(sys.argv[1])))
path = Path(sys.argv[2])
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
storage.put_file(path, "uploads/small.pt"); small = peak()
with path.open("ab") as file: file.truncate(320 * 2**20)
stored = storage.put_file(path, "uploads/large.pt")
assert storage.copy_to(stored.key, stored.sha256, path.with_name("back"))
print(json.dumps(peak() - small))
"""


@pytest.mark.slow
def test_memory_stays_flat_each_way(s3: S3, tmp_path: Path) -> None:
    settings = s3.settings() | {"data_dir": str(tmp_path / "var")}
    (tmp_path / "x.pt").write_bytes(bytes(2 * PART))
    command = [sys.executable, "-c", MEMORY, json.dumps(settings), str(tmp_path / "x.pt")]

    more = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert json.loads(more) < 100  # MiB, of a file of 320


def test_files_of_one_bucket_are_told_apart_by_prefix(s3: S3, tmp_path: Path) -> None:
    settings = s3.settings(prefix="one")
    other = settings | {"storage_url": settings["storage_url"].replace("/one", "/one-more")}
    (tmp_path / "x.pt").write_bytes(b"x")
    first, second = opened(tmp_path, settings), opened(tmp_path, other)

    first.put_file(tmp_path / "x.pt", KEY)
    second.delete("jobs")

    assert [file.key for file in first.stored()] == [KEY]
    assert list(second.stored()) == []


def test_a_file_that_is_needed_again_is_not_fetched_again(bucket: BucketStorage, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"x")
    sha256 = bucket.put_file(tmp_path / "x.pt", KEY).sha256
    assert bucket.fetch(KEY, sha256, tmp_path / "first")
    bucket.delete(KEY)

    assert bucket.fetch(KEY, sha256, tmp_path / "second")

    kept = tmp_path / "var" / "objects" / f"{sha256}.pt"
    kept.write_bytes(b"y")  # damaged: it is not handed on, and fetched anew
    assert bucket.fetch(KEY, sha256, tmp_path / "third") is None


def test_the_cache_lets_the_oldest_go_and_never_takes_a_file_from_who_uses_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", most_bytes=250)
    laid = []
    for number in range(4):
        content = bytes([number]) * 100
        target = tmp_path / "used" / str(number)

        def fetch(path: Path, content: bytes = content) -> bool:
            return path.write_bytes(content) > 0

        assert cache.lay(hashlib.sha256(content).hexdigest(), ".pt", target, fetch)
        laid.append(target)

    assert len([path for path in (tmp_path / "cache").iterdir() if path.suffix == ".pt"]) == 2
    assert [path.read_bytes()[0] for path in laid] == [0, 1, 2, 3]


def test_the_example_of_amazons_documentation_is_signed_alike() -> None:
    access = Access("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    at = datetime(2013, 5, 24, tzinfo=UTC)

    address = presign(access, "https://examplebucket.s3.amazonaws.com/test.txt", "us-east-1", 86_400, {}, at)

    assert address.endswith("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


@pytest.mark.slow
def test_a_presigned_address_is_believed_until_it_ends_or_is_changed(strict_s3: S3, tmp_path: Path) -> None:
    bucket = opened(tmp_path, strict_s3.settings(s3_redirect_seconds=2))
    (tmp_path / "x.pt").write_bytes(b"weights")
    bucket.put_file(tmp_path / "x.pt", KEY)
    address = bucket.presigned(KEY, "application/octet-stream", 'attachment; filename="n from l.pt"')

    with httpx2.Client(trust_env=False) as client:
        answer = client.get(address)
        assert (answer.status_code, answer.content) == (200, b"weights")
        assert answer.headers["content-disposition"] == 'attachment; filename="n from l.pt"'
        assert client.get(address.replace("n%20from%20l", "n%20from%20x")).status_code == 403
        time.sleep(3)
        assert client.get(address).status_code in (400, 403)


def test_wrong_keys_and_no_bucket_are_told_without_secrets(strict_s3: S3, tmp_path: Path) -> None:
    good = strict_s3.settings()
    for wrong in ({"s3_secret_access_key": "another secret"}, {"storage_url": "s3://no-such-bucket"}):
        storage = opened(tmp_path, good | wrong)
        (tmp_path / "x.pt").write_bytes(b"x")
        uses = (
            storage.check,
            lambda storage=storage: storage.put_file(tmp_path / "x.pt", KEY),
            lambda storage=storage: list(storage.stored()),
        )
        for use in uses:
            with pytest.raises(StorageUnreachable, match="expected a response from the bucket") as told:
                use()
            assert "secret" not in str(told.value)


def test_a_server_that_is_not_there_is_told_within_seconds(s3: S3, tmp_path: Path) -> None:
    storage = opened(tmp_path, s3.settings(s3_endpoint="http://127.0.0.1:9"))

    began = time.monotonic()
    with pytest.raises(StorageUnreachable):
        storage.check()

    assert time.monotonic() - began < 5


def test_keys_come_from_our_settings_or_as_aws_tools_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert access_of(Settings()) is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "theirs")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert access_of(Settings()) == Access("theirs", "secret")
    assert access_of(Settings(s3_access_key_id="ours", s3_secret_access_key="own")) == Access("ours", "own")
    assert "hush" not in repr(Settings(s3_access_key_id="hush-1", s3_secret_access_key="hush-2"))


@pytest.mark.parametrize(
    "url", ["bucket", "https://host/bucket", "s3://", "s3://UPPER", "s3://bucket/../x", "s3://b u"]
)
def test_an_address_of_a_bucket_is_checked_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket"):
        Settings(storage_url=url)
