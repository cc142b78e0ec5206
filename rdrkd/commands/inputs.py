"""Specs that name files of this machine: each file is sent to the service once, and named by its id."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from rdrkd.errors import SpecError
from rdrkd.suffixes import archive_suffix

if TYPE_CHECKING:
    from rdrkd.client import Client

Told = Callable[[str], None]


def read(path: Path) -> dict[str, Any]:
    """Read a spec, YAML or JSON, as it stands: the service says what is wrong with it.

    Raises:
        SpecError: it cannot be read, or is no object.
    """
    try:
        spec = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SpecError(f"expected a spec in {path}, got {type(error).__name__}: {error}") from error
    if not isinstance(spec, dict):
        raise SpecError(f"expected a spec in {path}, got {type(spec).__name__}")
    return spec


def sent(spec: Mapping[str, Any], folder: Path, service: "Client", told: Told) -> dict[str, Any]:
    """Return the spec with the files that it names sent to the service.

    Args:
        spec: of a job or a study; `dataset` and any `{path: ...}` may name files. A dataset's name stays: the service
            knows it.
        folder: what their relative paths start from.
        service: where they go.
        told: told of each file.

    Raises:
        SpecError: a file is not there, or is a folder.
    """
    known: dict[Path, str] = {}

    def send(named: str, kind: Literal["dataset", "model"], where: str) -> str:
        path = (folder / named).resolve()
        if not path.is_file():
            what = "a folder: make a zip of it" if path.is_dir() else "nothing there"
            raise SpecError(f"{where}: expected an id, or a file to send, got {named!r} ({what})")
        if path not in known:
            told(f"sending {path.name}")
            row = service.upload_dataset(path) if kind == "dataset" else service.upload_model(path)
            known[path] = row.id
            told(f"{path.name} is {row.id}")
        return known[path]

    def walk(value: Any, where: str) -> Any:
        if isinstance(value, dict):
            if set(value) == {"path"} and isinstance(value["path"], str):
                return {"model": send(value["path"], "model", f"{where}/path")}
            return {key: walk(item, f"{where}/{key}") for key, item in value.items()}
        return [walk(item, f"{where}/{n}") for n, item in enumerate(value)] if isinstance(value, list) else value

    found: dict[str, Any] = walk(dict(spec), "")
    dataset = found.get("dataset")
    if isinstance(dataset, str) and not _is_reference(dataset, folder):
        found["dataset"] = send(dataset, "dataset", "/dataset")
    return found


def _is_reference(dataset: str, folder: Path) -> bool:
    """Return whether a dataset is meant by its id or name: there is no such file, and it looks like none."""
    looks_like_a_path = (
        "/" in dataset or archive_suffix(dataset) is not None or Path(dataset).suffix in (".yaml", ".yml")
    )
    return dataset.startswith("ds_") or not (looks_like_a_path or (folder / dataset).exists())
