"""What is known of a study's members, in one JSON file that runs and machines add to."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rdrkd.errors import SpecError
from rdrkd.files import write_atomically
from rdrkd.study.members import Key

FORMAT = 1
FIGURES = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
Results = dict[str, Any]


def key_of(member: Mapping[str, Any]) -> Key:
    """Give the key of a recorded member."""
    return member["method"], member["seed"], member["hash"]


def read(path: Path) -> Results:
    """Read a study's results.

    Raises:
        SpecError: the file is missing or holds no results.
    """
    try:
        found: Results = json.loads(path.read_text())
        members = found["members"]
        for member in members:
            key_of(member), member["metrics"]["AP"], member["setting"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(f"expected a study's results in {path}, got {type(error).__name__}: {error}") from error
    if found.get("format") != FORMAT:
        raise SpecError(f"expected results of format {FORMAT} in {path}, got {found.get('format')}")
    return found


def write(results: Results, path: Path) -> None:
    """Write results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())


def merge(parts: Iterable[Results]) -> Results:
    """Join results of the same study; of a member that was trained twice the first stands.

    Raises:
        SpecError: they are of different datasets.
    """
    first, *others = parts
    merged = {**first, "members": list(first["members"]), "commands": list(first.get("commands", []))}
    for part in others:
        if part["dataset"] != first["dataset"] or part["dataset_sha256"] != first["dataset_sha256"]:
            raise SpecError(f"expected results on the dataset {first['dataset']}, got some on {part['dataset']}")
        known = {key_of(member) for member in merged["members"]}
        merged["members"] += [member for member in part["members"] if key_of(member) not in known]
        merged["commands"] += [c for c in part.get("commands", []) if c not in merged["commands"]]
        merged["teachers"] = {**part.get("teachers", {}), **merged.get("teachers", {})}
    merged["members"] = ordered(merged["members"])
    return merged


def ordered(members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bring members together by method, in the order in which the methods came, and by seed."""
    methods = list(dict.fromkeys(member["method"] for member in members))
    return sorted(members, key=lambda m: (methods.index(m["method"]), m["hash"], m["seed"]))
