"""A run folder across runs: the spec it is bound to, and why its last run failed.

A folder is bound to the spec and the inputs of the run that began in it, stored in `spec.json`. A run begins once
everything has been checked. A run that fails before its first checkpoint leaves nothing to resume from and releases
its folder, so a corrected run may use it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rdrkd.errors import FolderError
from rdrkd.files import write_json
from rdrkd.paths import without_paths
from rdrkd.process.process import failure_of
from rdrkd.run_folder import checkpoints
from rdrkd.run_folder.names import FAILURE, METRICS, RESOLVED, RESULT, SPEC
from rdrkd.spec import RUN_SPEC, RunSpec
from rdrkd.spec.resolved import with_defaults

_MOST = 5  # differing fields to name
_WAY_OUT = "Choose another folder (--name, --run-dir), or delete this one"
# What a run's result depends on besides its spec, by its key in the resolved spec's `provenance`.
_INPUTS = {
    "dataset_sha256": "dataset",
    "model_sha256": "models",
    "reading": "options --lenient, --keep and --divide",
}
_NAMING = (
    "name",
    "dataset",
    "labels",
    "priority",
    "timeout_seconds",
    "deadline",
)  # do not change the outcome


class Begun:
    """The state of a run folder when a run with a spec opens it.

    Attributes:
        held: whether a run has begun in it.
        finished: whether it holds a result.
        same: whether that run's spec is identical, names and paths included.

    Raises:
        FolderError: it is bound to another spec, or cannot be read.
    """

    def __init__(self, run_dir: Path, spec: RunSpec) -> None:
        self._folder, self._spec, self._own = run_dir, spec, spec.model_dump(mode="json")
        earlier = _read(run_dir / SPEC)
        self.held, self.same = earlier is not None, earlier == self._own
        if self.held and (differing := _differing(_deciding(earlier), _deciding(self._own))):
            raise FolderError(
                f"expected a new run folder, or one of this spec, got {run_dir.name}, which holds another run: "
                f"{'; '.join(differing[:_MOST])}. {_WAY_OUT}"
            )
        self.finished = (run_dir / RESULT).is_file()

    def result(self) -> dict[str, Any]:
        """Return the result of a finished run."""
        done: dict[str, Any] = json.loads((self._folder / RESULT).read_text())
        return done

    def prepare(self) -> None:
        """Remove an earlier run's records from an unbound folder, and store the spec for a report."""
        if self.held:
            return
        (self._folder / FAILURE).unlink(missing_ok=True)
        if not checkpoints.complete(self._folder):
            (self._folder / METRICS).unlink(missing_ok=True)
        write_json(self._folder / RESOLVED, with_defaults(self._spec))

    def check_inputs(self, now: Mapping[str, Any]) -> None:
        """Refuse another dataset, other models or another reading of the dataset than the run began with.

        Args:
            now: the `provenance` of a resolved spec, or the part of it that is known; the rest is not compared.

        Raises:
            FolderError: they differ.
        """
        earlier = ((_read(self._folder / RESOLVED) if self.held else None) or {}).get("provenance", {})
        for key, what in _INPUTS.items():
            if key not in earlier or key not in now:  # an earlier version recorded no reading
                continue
            was, came = earlier[key], now[key]
            if isinstance(came, dict):
                came = {field: came.get(field, sha256) for field, sha256 in was.items()}
            if was != came:
                hashes = "" if key == "reading" else f" (sha256: {_hashes(was)}; now: {_hashes(came)})"
                raise FolderError(f"expected the {what} that this run was begun with, got others. {_WAY_OUT}.{hashes}")

    def name(self) -> None:
        """Bind the folder to the spec, with its names and paths."""
        write_json(self._folder / SPEC, self._own)

    def begin(self, resolved: dict[str, Any]) -> None:
        """Bind the folder to the spec and its resolved form."""
        (self._folder / FAILURE).unlink(missing_ok=True)
        write_json(self._folder / RESOLVED, resolved)
        self.name()

    def fail(self, error: Exception) -> None:
        """Record why the run failed, and release the folder if there is no checkpoint to resume from."""
        if not checkpoints.complete(self._folder):
            (self._folder / SPEC).unlink(missing_ok=True)
        said = failure_of(error).model_dump(mode="json", exclude={"event"})
        said["message"] = without_paths(said["message"])
        said["problems"] = [{**problem, "detail": without_paths(problem["detail"])} for problem in said["problems"]]
        write_json(self._folder / FAILURE, said)


def _deciding(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a spec that determine the outcome, without names and paths (see `check_inputs`)."""
    with suppress(ValidationError):  # unknown to this version: compared unchanged
        spec = RUN_SPEC.validate_python(spec).model_dump(mode="json")  # adds fields introduced after it was written
    kept = {key: value for key, value in spec.items() if key not in _NAMING}
    return {
        key: "a weights file" if isinstance(value, dict) and "path" in value else value for key, value in kept.items()
    }


def _hashes(found: str | dict[str, str]) -> str:
    return found if isinstance(found, str) else ", ".join(f"{name} {sha256}" for name, sha256 in found.items())


def _differing(earlier: Any, now: Any, name: str = "") -> list[str]:
    """Return the fields in which two specs differ, with both values.

    >>> _differing({"train": {"epochs": 300}, "seed": 0}, {"train": {"epochs": 3}, "seed": 0})
    ['train.epochs is 300 there, here 3']
    """
    if isinstance(earlier, dict) and isinstance(now, dict):
        names = dict.fromkeys([*earlier, *now])
        parts = [_differing(earlier.get(key), now.get(key), f"{name}.{key}" if name else key) for key in names]
        return [one for part in parts for one in part]
    return [] if earlier == now else [f"{name} is {json.dumps(earlier)} there, here {json.dumps(now)}"]


def _read(path: Path) -> Any:
    """Return the content of a JSON file; None if it does not exist."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise FolderError(f"expected JSON in the run folder's {path.name}, got: {error}") from error
