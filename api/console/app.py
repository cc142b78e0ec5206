"""The console's routes, for the application that it is part of, and an application for a service elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from api.console.forwarding import forwarding
from api.console.pages import home, job, jobs, signing_in
from api.console.service import Remote, Service
from api.console.session import Sealer, Sessions
from api.console.static_files import static
from api.console.visit import Handler, endpoint

ID = "{id:str}"
PAGES: list[tuple[str, Handler]] = [
    ("/", home.home),
    ("/jobs", jobs.jobs),
    (f"/jobs/{ID}", job.job),
    (f"/jobs/{ID}/curves", job.job_curves),
    (f"/jobs/{ID}/log", job.job_log),
]
FORMS: list[tuple[str, Handler]] = [
    (f"/jobs/{ID}/{{action:str}}", job.act),
]


def routes(service: Service, sealer: Sealer) -> list[Route]:
    """Return the console's routes.

    Args:
        service: the way to the service.
        sealer: what encrypts the readers' cookies.
    """
    sessions = Sessions(sealer)
    open_to_all = [
        Route("/sign-in", endpoint(signing_in.form, service, sessions, public=True)),
        Route("/sign-in", endpoint(signing_in.signing_in(sessions), service, sessions, public=True), methods=["POST"]),
        Route(
            "/sign-out", endpoint(signing_in.signing_out(sessions), service, sessions, public=True), methods=["POST"]
        ),
        Route("/static/{name:path}", static),
    ]
    pages = [Route(path, endpoint(handler, service, sessions)) for path, handler in PAGES]
    forms = [Route(path, endpoint(handler, service, sessions), methods=["POST"]) for path, handler in FORMS]
    return [*open_to_all, *pages, *forms, *forwarding(service, sessions)]


def remote_app(url: str, token: str | None, sealer: Sealer) -> Starlette:
    """Make the console of a service elsewhere, for readers on this machine.

    Args:
        url: the service's base URL.
        token: an API key for readers who have not signed in.
        sealer: what encrypts the readers' cookies.
    """
    service = Remote(url, token)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.close()

    own_names = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    return Starlette(routes=routes(service, sealer), middleware=[own_names], lifespan=lifespan)
