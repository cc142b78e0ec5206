"""The console's routes, for the service's own application, and a separate application for a remote service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Route

from api.console.forwarding import forwarding
from api.console.pages import (
    administration,
    compare,
    dataset_images,
    datasets,
    first_steps,
    home,
    job,
    jobs,
    models,
    new_job,
    new_study,
    predictions,
    signing_in,
    studies,
)
from api.console.service import Remote, Service
from api.console.session import Sealer, Sessions
from api.console.static_files import static
from api.console.visit import Endpoint, Handler, Visit, endpoint

ID = "{id:str}"
PAGES: list[tuple[str, Handler]] = [
    ("/", home.home),
    ("/jobs", jobs.jobs),
    ("/jobs/new", new_job.form),
    (f"/jobs/{ID}", job.job),
    (f"/jobs/{ID}/predictions", predictions.predictions),
    ("/datasets", datasets.datasets),
    (f"/datasets/{ID}", datasets.dataset),
    (f"/datasets/{ID}/images", dataset_images.images),
    ("/models", models.models),
    (f"/models/{ID}", models.model),
    ("/studies", studies.studies),
    ("/studies/new", new_study.form),
    (f"/studies/{ID}", studies.study),
    ("/compare", compare.compare),
    ("/administration", administration.administration),
    ("/audit", administration.audit),
    ("/webhooks", administration.webhooks),
    (f"/webhooks/{ID}", administration.webhook),
]
# Data for scripts: without navigation, so it does not look up the reader; the service checks their key anyway.
DATA: list[tuple[str, Handler]] = [
    (f"/jobs/{ID}/curves", job.job_curves),
    (f"/jobs/{ID}/log", job.job_log),
    ("/compare/curves", compare.compare_curves),
]
FORMS: list[tuple[str, Handler]] = [
    ("/jobs/new", new_job.submit),
    ("/jobs/new/check", new_job.check),
    ("/studies/new", new_study.submit),
    ("/studies/new/check", new_study.check),
    (f"/jobs/{ID}/register", models.register),
    (f"/jobs/{ID}/export", models.export),
    (f"/jobs/{ID}/{{action:str}}", job.act),
    ("/datasets/demo", first_steps.take_demo),
    (f"/datasets/{ID}/delete", datasets.delete),
    (f"/models/{ID}/alias", models.move_alias),
    (f"/models/{ID}/export", models.export),
    (f"/models/{ID}/unalias", models.delete_alias),
    (f"/models/{ID}/delete", models.delete),
    (f"/studies/{ID}/{{action:str}}", studies.act),
    ("/administration/keys", administration.create_key),
    (f"/administration/keys/{ID}/revoke", administration.revoke_key),
    ("/webhooks", administration.create_webhook),
    (f"/webhooks/{ID}/{{action:str}}", administration.act_on_webhook),
]


async def _no_page(visit: Visit) -> Response:
    return visit.problem(404, "Not found", f"There is no page at {visit.request.url.path}.")


def not_found(service: Service, sealer: Sealer) -> Endpoint:
    """Return the endpoint that answers browsers at unknown paths.

    Args:
        service: access to the service.
        sealer: encrypts the readers' cookies.
    """
    return endpoint(_no_page, service, Sessions(sealer))


def routes(service: Service, sealer: Sealer) -> list[Route]:
    """Return the console's routes.

    Args:
        service: access to the service.
        sealer: encrypts the readers' cookies.
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
    data = [Route(path, endpoint(handler, service, sessions, public=True)) for path, handler in DATA]
    forms = [Route(path, endpoint(handler, service, sessions), methods=["POST"]) for path, handler in FORMS]
    return [*open_to_all, *data, *pages, *forms, *forwarding(service, sessions)]


def remote_app(url: str, token: str | None, sealer: Sealer) -> Starlette:
    """Make the console of a service elsewhere, for readers on this machine.

    Args:
        url: the service's base URL.
        token: an API key for readers who have not signed in.
        sealer: encrypts the readers' cookies.
    """
    service = Remote(url, token)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.close()

    own_names = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    return Starlette(routes=routes(service, sealer), middleware=[own_names], lifespan=lifespan)
