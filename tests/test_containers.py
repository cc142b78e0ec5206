"""What the containers may do, as their files say it; `make compose-test` runs them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_what_it_must_and_no_more(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert 0 < service["pids_limit"] <= 4096
    assert re.fullmatch(r"\$\{[A-Z]+_MEMORY:-\d+[gm]\}", service["mem_limit"])
    assert all("size=" in mount for mount in service["tmpfs"])
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_as_files_to_those_who_need_them(name: str) -> None:
    service = SERVICES[name]
    said = [str(value) for value in service.get("environment", {}).values()]

    assert [
        value for value in said if re.search(r"://[^/]*:[^/]*@|password", value) and "/run/secrets" not in value
    ] == []
    ours = {"rdrkd_database_url", "rdrkd_broker_url"}
    needed = {
        "api": {*ours, "rdrkd_token", "rdrkd_encryption_keys"},
        "reaper": {*ours, "rdrkd_encryption_keys"},
        "postgres": {"postgres_password"},
        "redis": {"redis_password"},
    }
    assert set(service["secrets"]) == needed.get(name, ours)


def test_images_can_be_pinned_from_outside() -> None:
    froms = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    built = [service["build"]["args"]["PYTHON_IMAGE"] for service in SERVICES.values() if "build" in service]

    assert [image for image in froms if image not in stages] == ["${PYTHON_IMAGE}"]
    assert built == ["${PYTHON_IMAGE:-python:3.12-slim}"] * 2
    assert [SERVICES[name]["image"] for name in ("postgres", "redis")] == [
        "${POSTGRES_IMAGE:-postgres:16}",
        "${REDIS_IMAGE:-redis:7}",
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_secrets_makes_every_secret_once(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    subprocess.run(
        ["make", "secrets"], cwd=tmp_path, check=True, capture_output=True, env=os.environ | {"MAKEFLAGS": ""}
    )
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run(["make", "secrets"], cwd=tmp_path, check=True, capture_output=True)

    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made
    assert {f"secrets/{name}" for name in made} == {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert made["rdrkd_broker_url"] == f"redis://:{made['redis_password']}@redis:6379/0"
    assert Fernet(made["rdrkd_encryption_keys"]).encrypt(b"x")
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
