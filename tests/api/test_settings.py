"""Settings from the environment and from secret files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_the_embedded_service(tmp_path: Path) -> None:
    settings = Settings()

    assert settings.data_dir == tmp_path / "var"
    assert settings.database_url == f"sqlite:///{tmp_path}/var/rdrkd.db"
    assert settings.broker_url == f"sqla+sqlite:///{tmp_path}/var/broker.db"
    assert (settings.host, settings.migrate_on_start, settings.read_token()) == ("127.0.0.1", True, None)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("RDRKD_DATABASE_URL", f"{scheme}://u:secret@db/x")
    monkeypatch.setenv("RDRKD_ALLOWED_HOSTS", "a.example, b.example,")
    monkeypatch.setenv("RDRKD_LEASE_SECONDS", "90")
    settings = Settings()

    assert settings.database_url == "postgresql+psycopg://u:secret@db/x"
    assert (settings.allowed_hosts, settings.lease_seconds) == (["a.example", "b.example"], 90)
    assert not settings.migrate_on_start
    assert "secret" not in repr(settings)


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDRKD_TOKEN", "hush-hush")

    assert Settings().read_token() == "hush-hush"
    assert "hush-hush" not in repr(Settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("LEASE_SECONDS", "0"), ("LEASE_SECONDS", "5"), ("MAX_DATASET_BYTES", "many")],
)
def test_wrong_settings_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"RDRKD_{name}", value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()
