"""The caller of a request and its scope, determined by the guard first and passed through the whole request."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do; each scope includes those before it."""

    READ = "read"  # read and download its owner's objects
    SUBMIT = "submit"  # also create and change them
    ADMIN = "admin"  # all owners' objects, keys and the audit log

    def holds(self, needed: "Scope") -> bool:
        """Return whether a key of this scope may do what needs `needed`.

        >>> Scope.SUBMIT.holds(Scope.READ), Scope.SUBMIT.holds(Scope.ADMIN)
        (True, False)
        """
        order = list(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Caller:
    """The caller: an API key, or the operator, who has no owner and sees everything."""

    key: str  # the key's id, or how the operator authenticated: `token`, `loopback` or `command`
    owner: str | None  # owner of everything that the caller creates
    scope: Scope

    def sees(self, owner: str | None) -> bool:
        """Return whether an owner's objects exist for this caller (`api.ownership` narrows queries by the same rule).

        >>> TOKEN.sees("ada"), Caller("key_1", "ada", Scope.READ).sees("bob")
        (True, False)
        """
        return self.scope == Scope.ADMIN or self.owner == owner


TOKEN = Caller("token", None, Scope.ADMIN)  # has the service's own token
LOOPBACK = Caller("loopback", None, Scope.ADMIN)  # on this machine, while there is neither token nor key
COMMAND = Caller("command", None, Scope.ADMIN)  # at the command line, with the database's password

_ADMIN = ("/v1/api-keys", "/v1/audit", "/v1/monitoring")
READING = ("GET", "HEAD", "OPTIONS")


def needed(method: str, path: str) -> Scope:
    """Return the scope that a request needs.

    >>> [str(needed(*asked)) for asked in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/api-keys/key_1"))]
    ['read', 'submit', 'admin']
    """
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in _ADMIN):
        return Scope.ADMIN
    return Scope.READ if method in READING else Scope.SUBMIT
