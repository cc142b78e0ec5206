"""What was given to a command on a service in place of an id or name of its kind, and which command takes it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdrkd.cli.distill_inputs import DATASET, WEIGHTS, kind_of

if TYPE_CHECKING:
    from rdrkd.client import Client

_KINDS = {"ds_": "dataset", "mdl_": "model", "job_": "job", "stu_": "study", "whk_": "webhook", "key_": "key"}
_COMMANDS = {"study": "studies show", "key": "keys revoke"}
_LOCAL = {WEIGHTS: ("rdrkd inspect", "models"), DATASET: ("rdrkd datasets check", "datasets")}


def named_file(texts: Sequence[str]) -> str:
    """Return the end of a refusal that names the commands for a local file; empty if no text names one."""
    for text in texts:
        if Path(text).exists() and (commands := _LOCAL.get(kind_of(text) or "")):
            check, group = commands
            return (
                f"; {text} is a local file, and this command is for uploaded ones: `{check} {text}` checks it, "
                f"`rdrkd {group} upload {text}` uploads it"
            )
    return ""


def other_kind(texts: Sequence[str], refusal: str, service: "Client") -> str:
    """Return the end of a refusal that names the command for a resource of another kind; empty if no text names one."""
    own = re.search(r"of a (?:api_)?(\w+) that exists", refusal)
    for text in texts:
        kind = next((kind for prefix, kind in _KINDS.items() if text.startswith(prefix)), "") or _known(text, service)
        if own and kind not in ("", own[1]):
            return f"; that is a {kind}: use `rdrkd {_COMMANDS.get(kind, f'{kind}s show')} {text}`"
    return ""


def _known(text: str, service: "Client") -> str:
    """Return the kind of the resource that has a name; empty if there is none."""
    from rdrkd.client import Refused

    for read in (service.dataset, service.model, service.job, service.study):
        try:
            read(text)
            return read.__name__
        except Refused:
            continue
    return ""
