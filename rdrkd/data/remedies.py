"""Advice on problems for which a dataset is refused."""

import re

_MISSING_YAML = re.compile(r"^(expected|recognised) .*\b(a|one) data\.(yaml|YAML)\b")
_YAML = """write a data.yaml such as
  train: images/train  # labels in labels/train; images/ and labels/ are beside this file
  val: images/val
  names: [person, vehicle, bicycle]"""


def advice_on(detail: str, leaves_out: bool) -> str:
    """Return what to do about a problem; empty where its detail says all that is known.

    Args:
        detail: the problem's detail.
        leaves_out: whether `--lenient` would leave it out.

    >>> advice_on("expected a width above 0, got 0", True), advice_on("expected no encryption", False)
    ('leave it out with --lenient', '')
    """
    if leaves_out:
        return "leave it out with --lenient"
    return _YAML if _MISSING_YAML.match(detail) else ""
