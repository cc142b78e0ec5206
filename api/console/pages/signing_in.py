"""Sign in with an API key, and sign out."""

from starlette.responses import Response

from api.console.session import Session, Sessions
from api.console.visit import Handler, Visit
from rdrkd.client import Refused


async def form(visit: Visit) -> Response:
    """Ask for the key."""
    return visit.render("sign_in.html", next=_local(visit.query("next")), wrong=False)


def signing_in(sessions: Sessions) -> Handler:
    """Return the handler that accepts a key and starts a session with it."""

    async def sign_in(visit: Visit) -> Response:
        key, target = str(visit.form.get("key", "")).strip(), _local(str(visit.form.get("next", "")))
        try:
            key.encode("ascii")
            await visit.service.client(visit.request, key or None).whoami()
        except (Refused, UnicodeEncodeError) as error:
            if isinstance(error, Refused) and error.status != 401:
                raise
            return visit.render("sign_in.html", 401, next=target, wrong=True)
        response = visit.go(target)
        sessions.write(visit.request, response, Session.new(key or None))
        return response

    return sign_in


def signing_out(sessions: Sessions) -> Handler:
    """Return the handler that ends a session."""

    async def sign_out(visit: Visit) -> Response:
        response = visit.go("/sign-in")
        sessions.remove(visit.request, response)
        return response

    return sign_out


def _local(target: str | None) -> str:
    """Return the target if it is a path of the console, else `/`: other targets would redirect the reader elsewhere.

    >>> _local("/jobs?status=failed"), _local("//example.org"), _local("https://example.org"), _local(None)
    ('/jobs?status=failed', '/', '/', '/')
    """
    if (
        not target
        or not target.startswith("/")
        or target.startswith("//")
        or "\\" in target
        or not target.isprintable()
    ):
        return "/"
    return target
