"""Errors of a whole model's validator that name the fields at fault, so that a problem's pointer leads to its field."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


class Fault(NamedTuple):
    """The path of a field from the validated model, what is wrong with it, and the value received."""

    where: tuple[str | int, ...]
    detail: str
    came: Any


def refusal(faults: Sequence[Fault]) -> ValidationError:
    """Return the error that a validator raises for these faults; Pydantic reports them like its own.

    >>> refusal([Fault(("seeds", 2), "expected distinct seeds, got 1 again", 1)]).errors()[0]["loc"]
    ('seeds', 2)
    """
    details = [
        InitErrorDetails(type=PydanticCustomError("value_error", "{detail}", {"detail": detail}), loc=where, input=came)
        for where, detail, came in faults
    ]
    return ValidationError.from_exception_data("refused", details)
