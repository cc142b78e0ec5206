"""Specs that name files of this machine: each file is sent to the service once, and named by its id."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import yaml

from rdrkd.errors import RdrkdError, SpecError
from rdrkd.files import file_sha256
from rdrkd.suffixes import archive_suffix

if TYPE_CHECKING:
    from rdrkd.client import Client

STDIN = Path("-")
Told = Callable[[str], None]


def read(path: Path) -> dict[str, Any]:
    """Read a spec, YAML or JSON, as it stands: the service says what is wrong with it.

    Raises:
        SpecError: it cannot be read, or is no object.
    """
    try:
        spec = yaml.safe_load(sys.stdin.read() if path == STDIN else path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SpecError(f"expected a spec in {path}, got {type(error).__name__}: {error}") from error
    if not isinstance(spec, dict):
        raise SpecError(f"expected a spec in {path}, got {type(spec).__name__}")
    return spec


def folder_of(spec: Path) -> Path:
    """Return what the relative paths in a spec start from: its folder, and of stdin the current one."""
    return Path() if spec == STDIN else spec.parent


def sent(spec: Mapping[str, Any], folder: Path, service: "Client", told: Told) -> dict[str, Any]:
    """Return the spec with the files that it names sent to the service.

    Args:
        spec: of a job or a study; `dataset` and any `{path: ...}` may name files. A dataset's name stays: the service
            knows it.
        folder: what their relative paths start from.
        service: where they go.
        told: told of each file.

    Raises:
        SpecError: a file is not there, or is no dataset or weights file.
    """
    sender = Sender(service, folder, told)

    def walk(value: Any, where: str) -> Any:
        if isinstance(value, dict):
            if set(value) == {"path"} and isinstance(value["path"], str):
                return sender.reference(value, f"{where}/path")
            return {key: walk(item, f"{where}/{key}") for key, item in value.items()}
        return [walk(item, f"{where}/{n}") for n, item in enumerate(value)] if isinstance(value, list) else value

    found: dict[str, Any] = walk(dict(spec), "")
    if isinstance(dataset := found.get("dataset"), str):
        found["dataset"] = sender.dataset(dataset, "/dataset")
    return found


class Sender:
    """Uploads files, each once: one whose content is on the service already is named by its id there.

    Args:
        service: where they go.
        folder: what relative paths start from.
        told: told of each file.
    """

    def __init__(self, service: "Client", folder: Path, told: Told) -> None:
        self._service, self._folder, self._told = service, folder, told
        self._known: dict[Path, str] = {}

    def reference(self, reference: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return a model's reference, `{path: ...}` as `{model: ...}`.

        Raises:
            SpecError: the file is not there.
        """
        if set(reference) != {"path"}:
            return dict(reference)
        path = (self._folder / reference["path"]).resolve()
        if not path.is_file():
            what = "a folder" if path.is_dir() else "nothing there"
            raise SpecError(f"{where}: expected an id, or a weights file to send, got {reference['path']!r} ({what})")
        return {"model": self._send(path, "model")}

    def dataset(self, named: str, where: str) -> str:
        """Return the id of a dataset; a reference that is no path stays.

        Raises:
            SpecError: the path is not there, or is no dataset.
        """
        from rdrkd.cli.packing import packed

        if _is_reference(named, self._folder):
            return named
        if not (self._folder / named).exists():
            raise SpecError(f"{where}: expected an id, or a file to send, got {named!r} (nothing there)")
        with TemporaryDirectory(prefix="rdrkd-upload-") as scratch:
            try:
                file = packed((self._folder / named).resolve(), Path(scratch))
            except RdrkdError as error:
                raise SpecError(f"{where}: {error}", error.problems) from error
            return self._send(file, "dataset")

    def _send(self, path: Path, kind: Literal["dataset", "model"]) -> str:
        if path not in self._known:
            if (there := self._there(path, kind)) is not None:
                self._told(f"{path.name} is on the service already: {there}")
                self._known[path] = there
            else:
                self._told(f"sending {path.name}")
                row = self._service.upload_dataset(path) if kind == "dataset" else self._service.upload_model(path)
                self._told(f"{path.name} is {row.id}")
                self._known[path] = row.id
        return self._known[path]

    def _there(self, path: Path, kind: Literal["dataset", "model"]) -> str | None:
        """Return the id of an upload with this content that was not refused; read as a plain upload would be."""
        sha256 = file_sha256(path)
        if kind == "model":
            return next((row.id for row in self._service.models(sha256=sha256) if row.status != "invalid"), None)
        for row in self._service.datasets(sha256=sha256):
            if row.status != "invalid" and not row.lenient and row.divide is None and row.sha256 == sha256:
                return row.id
        return None


def _is_reference(dataset: str, folder: Path) -> bool:
    """Return whether a dataset is meant by its id or name: there is no such file, and it looks like none."""
    looks_like_a_path = (
        "/" in dataset or archive_suffix(dataset) is not None or Path(dataset).suffix in (".yaml", ".yml")
    )
    return dataset.startswith("ds_") or not (looks_like_a_path or (folder / dataset).exists())
