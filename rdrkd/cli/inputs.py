"""Specs that name local files: upload each file once, and refer to it by its id."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from rdrkd.errors import Problem, RdrkdError, SpecError
from rdrkd.figures import counted
from rdrkd.files import file_sha256
from rdrkd.suffixes import archive_suffix
from rdrkd.suggestion import file_suggestion

if TYPE_CHECKING:
    from rdrkd.client import Client

STDIN = Path("-")
Notify = Callable[[str], None]  # takes a line of progress


def read(path: Path, command: str) -> dict[str, Any]:
    """Read the spec of a command, YAML or JSON, without validating it: the service does that.

    Raises:
        SpecError: it cannot be read, or is not an object.
    """
    from rdrkd.cli.expected_spec import expect_spec
    from rdrkd.spec.files import parse_file, parse_text

    expect_spec(path, command)
    spec = parse_text(sys.stdin.read(), "stdin") if path == STDIN else parse_file(path, "a spec")
    if not isinstance(spec, dict):
        came = "an empty file" if spec is None else f"a {type(spec).__name__}"
        raise SpecError(f"expected a spec, an object with fields, in {path}, got {came}")
    return spec


def folder_of(spec: Path) -> Path:
    """Return the folder to which relative paths in a spec refer: the spec's own, or for stdin the current one."""
    return Path() if spec == STDIN else spec.parent


def sent(
    spec: Mapping[str, Any],
    folder: Path,
    service: "Client",
    notify: Notify,
    validate: Callable[[dict[str, Any]], object],
) -> dict[str, Any]:
    """Upload the files that a spec names, and return the spec with their ids.

    Args:
        spec: spec of a job or a study; `dataset` and any `{path: ...}` may name files. The name of a dataset on the
            service is kept.
        folder: folder to which relative paths refer.
        service: the service to upload to.
        notify: called for each file.
        validate: lets the service validate a spec.

    Raises:
        SpecError: a file does not exist, or is neither a dataset nor a weights file.
        Refused: the service refuses the spec for something other than its files, of which none has been uploaded.
    """
    sender = Sender(service, folder, notify)
    _refuse_early(spec, folder, sender, validate)
    found: dict[str, Any] = _with_references(dict(spec), sender.reference)
    if isinstance(dataset := found.get("dataset"), str):
        found["dataset"] = sender.dataset(dataset, "/dataset")
    return found


def validated(spec: Mapping[str, Any], folder: Path, service: "Client", notify: Notify) -> dict[str, Any]:
    """Return the service's validation of a spec; files that it names are not sent, and left out of the validation.

    Raises:
        SpecError: a file does not exist.
        Refused: the service refuses the spec for something other than its files.
    """
    files = _refuse_early(spec, folder, Sender(service, folder, notify), service.validate)
    if not files:
        return service.validate(dict(spec))
    notify("the files themselves are not checked, and there is no estimate without them: `rdrkd inspect` checks a file")
    return {"ok": True, "files_not_checked": files}


def _with_references(value: Any, replaced: Callable[[dict[str, Any], str], Any], where: str = "") -> Any:
    """Return a part of a spec in which each `{path: ...}` is replaced, given it and its JSON pointer."""
    if isinstance(value, dict) and where != "/dataset":  # a dataset's file has no `{path: ...}`: the service says so
        if set(value) == {"path"} and isinstance(value["path"], str):
            return replaced(value, f"{where}/path")
        return {key: _with_references(item, replaced, f"{where}/{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_with_references(item, replaced, f"{where}/{n}") for n, item in enumerate(value)]
    return value


def _refuse_early(
    spec: Mapping[str, Any], folder: Path, sender: "Sender", validate: Callable[[dict[str, Any]], object]
) -> list[str]:
    """Refuse a spec before gigabytes are uploaded for it; only its files, which the service lacks, are left out.

    Return the JSON pointers of the files.
    """
    from rdrkd.client import Refused

    files: list[str] = []
    missing: list[Problem] = []

    def note(check: Callable[[Any, str], object], value: Any, where: str) -> None:
        files.append(where)
        try:
            check(value, where)
        except SpecError as error:
            missing.extend(error.problems)

    _with_references(dict(spec), partial(note, sender.file))
    if isinstance(dataset := spec.get("dataset"), str) and not _is_reference(dataset, folder):
        note(sender.existing, dataset, "/dataset")
    if not files:
        return []  # the submission itself is as quick
    try:
        validate(dict(spec))
    except Refused as refused:
        others = [problem for problem in refused.problems if problem.where not in files]
        if others or not refused.problems:
            refused.problems = (*others, *missing)
            raise
    if missing:
        raise SpecError(f"refused because of {counted(len(missing), 'field')} of the spec", missing)
    return files


class Sender:
    """Upload files, each once; content that is already on the service is not uploaded again.

    Args:
        service: the service to upload to.
        folder: folder to which relative paths refer.
        notify: called for each file.
    """

    def __init__(self, service: "Client", folder: Path, notify: Notify) -> None:
        self._service, self._folder, self._notify = service, folder, notify
        self._known: dict[Path, str] = {}

    def reference(self, reference: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return a model's reference, with `{path: ...}` replaced by `{model: ...}`.

        Raises:
            SpecError: the file does not exist.
        """
        if set(reference) != {"path"}:
            return dict(reference)
        return {"model": self._send(self.file(reference, where), "model")}

    def file(self, reference: Mapping[str, Any], where: str) -> Path:
        """Return the weights file to which a reference refers.

        Raises:
            SpecError: it does not exist.
        """
        path = (self._folder / str(reference["path"])).resolve()
        if not path.is_file():
            what = "(a folder)" if path.is_dir() else f"(nothing there){file_suggestion(path, str(reference['path']))}"
            raise SpecError.at(where, f"expected an id, or a weights file to send, got {reference['path']!r} {what}")
        return path

    def existing(self, named: str, where: str) -> Path:
        """Return the path of a dataset that is to be sent.

        Raises:
            SpecError: it does not exist.
        """
        path = self._folder / named
        if not path.exists():
            meant = file_suggestion(path, named)
            raise SpecError.at(where, f"expected an id, or a file to send, got {named!r} (nothing there){meant}")
        return path.resolve()

    def dataset(self, named: str, where: str) -> str:
        """Return the id of a dataset; a reference that is not a path is returned unchanged.

        Raises:
            SpecError: the path does not exist, or is not a dataset.
        """
        from rdrkd.cli.packing import packed

        if _is_reference(named, self._folder):
            return named
        path = self.existing(named, where)
        with TemporaryDirectory(prefix="rdrkd-upload-") as scratch:
            try:
                file = packed(path, Path(scratch))
            except RdrkdError as error:
                raise SpecError(f"{where}: {error}", error.problems) from error
            return self._send(file, "dataset")

    def _send(self, path: Path, kind: Literal["dataset", "model"]) -> str:
        if path not in self._known:
            if (found := self._uploaded(path, kind)) is not None:
                self._notify(f"{path.name} is on the service already: {found}")
                self._known[path] = found
            else:
                self._notify(f"sending {path.name}")
                row = self._service.upload_dataset(path) if kind == "dataset" else self._service.upload_model(path)
                self._notify(f"{path.name} is {row.id}")
                self._known[path] = row.id
        return self._known[path]

    def _uploaded(self, path: Path, kind: Literal["dataset", "model"]) -> str | None:
        """Return the id of a valid upload with this content and, for a dataset, default reading options."""
        sha256 = file_sha256(path)
        if kind == "model":
            return next((row.id for row in self._service.models(sha256=sha256) if row.status != "invalid"), None)
        for row in self._service.datasets(sha256=sha256):
            if row.status != "invalid" and not row.lenient and row.divide is None and row.sha256 == sha256:
                return row.id
        return None


def _is_reference(dataset: str, folder: Path) -> bool:
    """Return whether a text is a dataset's id or name: no such file exists, and it does not look like a path."""
    looks_like_a_path = (
        "/" in dataset or archive_suffix(dataset) is not None or Path(dataset).suffix in (".yaml", ".yml")
    )
    return dataset.startswith("ds_") or not (looks_like_a_path or (folder / dataset).exists())
