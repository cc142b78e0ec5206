"""Query parameters that a list does not have: to ignore a mistyped filter would return everything."""

from collections.abc import Collection

from api.errors import FieldError, Invalid
from rdrkd.suggestion import suggestion

ACCEPTED = "_"  # by which some browsers' libraries keep a response out of caches
_MOST = 10  # names to list
_SHOWN = 80  # characters of a name to show


def refuse_unknown(came: Collection[str], known: Collection[str]) -> None:
    """Refuse parameters that are not known, each with a suggestion.

    Raises:
        Invalid: there are some.

    >>> refuse_unknown(["status", "_"], ["status"])
    >>> refuse_unknown(["stauts"], ["status", "limit"])
    Traceback (most recent call last):
    api.errors.Invalid: stauts: expected one of the parameters status, limit, got `stauts`; did you mean `status`?
    """
    unknown = [name for name in dict.fromkeys(came) if name not in known and name != ACCEPTED][:_MOST]
    names = ", ".join(known)
    errors = [
        FieldError(
            parameter=name[:_SHOWN],
            detail=f"expected one of the parameters {names}, got `{name[:_SHOWN]}`{suggestion(name, known)}",
        )
        for name in unknown
    ]
    if errors:
        raise Invalid(f"{errors[0].parameter}: {errors[0].detail}", errors)
