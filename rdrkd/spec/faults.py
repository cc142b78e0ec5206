"""Lets a validator of a whole say which field inside is at fault, so that the problem's pointer leads there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


class Fault(NamedTuple):
    """A field, by its way from what is validated, what is wrong with it, and what came."""

    where: tuple[str | int, ...]
    detail: str
    came: Any


def refusal(faults: Sequence[Fault]) -> ValidationError:
    """Return the error that a validator raises for some faults; Pydantic takes them over as its own.

    >>> refusal([Fault(("seeds", 2), "expected distinct seeds, got 1 again", 1)]).errors()[0]["loc"]
    ('seeds', 2)
    """
    details = [
        InitErrorDetails(type=PydanticCustomError("value_error", "{detail}", {"detail": detail}), loc=where, input=came)
        for where, detail, came in faults
    ]
    return ValidationError.from_exception_data("refused", details)
