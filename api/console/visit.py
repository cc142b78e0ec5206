"""One request for a page: the reader, the client that acts for them, and the rendering of the response."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from api.console.render import ENVIRONMENT, local
from api.console.service import Service
from api.console.session import Session, Sessions
from rdrkd.client import AsyncClient, ClientError, Refused

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # for the link back from a refusal
}
Handler = Callable[["Visit"], Awaitable[Response | ASGIApp]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class Visit:
    """A request, and everything that its handler needs to answer it."""

    request: Request
    service: Service
    session: Session
    client: AsyncClient
    caller: dict[str, Any] = field(default_factory=dict)
    form: FormData = field(default_factory=FormData)

    @property
    def may_write(self) -> bool:
        """Whether the reader's key may submit and change objects."""
        return self.caller.get("scope") in ("submit", "admin")

    @property
    def is_admin(self) -> bool:
        """Whether the reader's key may see all owners' objects and the keys."""
        return self.caller.get("scope") == "admin"

    def entries(self) -> list[tuple[str, str]]:
        """Return the navigation: URLs and names of the pages that the reader's key may see."""
        return [
            ("/", "Home"),
            ("/jobs", "Jobs"),
            *([("/jobs/new", "New job")] if self.may_write else []),
            ("/datasets", "Datasets"),
            ("/models", "Models"),
            ("/studies", "Studies"),
            ("/compare", "Compare"),
            *([("/administration", "Administration")] if self.is_admin else [("/webhooks", "Webhooks")]),
        ]

    def page(self, after: str | int | None) -> str:
        """Return the URL of another page of the current list."""
        kept = [(name, value) for name, value in self.request.query_params.multi_items() if name != "after"]
        return "?" + urlencode([*kept, *([("after", str(after))] if after is not None else [])])

    def here(self, path: str) -> bool:
        """Return whether the page belongs to this entry of the navigation."""
        entries = [entry for entry, _ in self.entries() if self.request.url.path.startswith(entry)]
        return path == max(entries, key=len, default=None) and (path != "/" or self.request.url.path == "/")

    def id(self) -> str:
        """Return the id in the path."""
        return str(self.request.path_params["id"])

    def query(self, name: str) -> str | None:
        """Return a parameter of the query; None if it is missing or empty."""
        return self.request.query_params.get(name) or None

    def render(self, template: str, status: int = 200, **content: Any) -> Response:
        """Answer with a page, or with 304 if the browser already has it."""
        html = ENVIRONMENT.get_template(template).render(visit=self, **content)
        tag = hashlib.sha256(html.encode()).hexdigest()[:16]
        if status == 200 and self.request.headers.get("hx-ptag") == tag:
            return Response(status_code=304, headers={"HX-PTag": tag})
        return HTMLResponse(html, status, HEADERS | {"HX-PTag": tag})

    def go(self, path: str) -> Response:
        """Redirect the browser to another page."""
        return RedirectResponse(path, 303)

    def go_with(self, path: str, secret: str) -> Response:
        """Redirect the browser to the page that shows this secret once: a reload of that page creates no other."""
        self.session = replace(self.session, secret=secret)
        return self.go(path)

    def secret(self, prefix: str) -> str | None:
        """Take the session's secret, if it has one of this kind."""
        found = self.session.secret
        if found is None or not found.startswith(prefix):
            return None
        self.session = replace(self.session, secret=None)
        return found

    def problem(self, status: int, title: str, detail: str, errors: Any = ()) -> Response:
        """Answer with an error page."""
        return self.render("problem.html", status, title=title, detail=detail, errors=errors)


def endpoint(
    handler: Handler, service: Service, sessions: Sessions, public: bool = False, forms: bool = True
) -> Endpoint:
    """Wrap a handler as an endpoint: with the reader's session, a checked form, and refusals shown as pages.

    Args:
        handler: the handler.
        service: access to the service.
        sessions: the readers' sessions.
        public: whether readers who have not signed in may see it.
        forms: whether writes are forms; otherwise their bodies are not read here, and a header contains the token.
    """

    async def answer(request: Request) -> Response:
        known = sessions.of(request)
        if known is None and request.headers.get("sec-fetch-site") == "cross-site":
            # A link from another site arrives without the cookie, which is SameSite=Strict. The page then reloads
            # itself with the cookie, which a new one set here would replace.
            return HTMLResponse(ENVIRONMENT.get_template("again.html").render(), headers=HEADERS)
        session = known or Session.new()
        visit = Visit(request, service, session, service.client(request, session.key))
        response = await _answer(visit, handler, known is not None, public, forms)
        if visit.session != known and isinstance(response, Response) and response.status_code != 304:
            sessions.write(request, response, visit.session)
        return response  # type: ignore[return-value]

    return answer


async def _answer(visit: Visit, handler: Handler, known: bool, public: bool, forms: bool) -> Response | ASGIApp:
    try:
        if visit.request.method not in ("GET", "HEAD") and not await _is_ours(visit, known, forms):
            return await _out_of_date(visit)
        if not public:
            visit.caller = await visit.client.whoami()
        return await handler(visit)
    except Refused as refused:
        if refused.status == 401 and not public:
            return _to_sign_in(visit)
        title = str(refused.document.get("title") or f"The service answered {refused.status}")
        return visit.problem(refused.status, title, _missing(visit, str(refused)), refused.document.get("errors", ()))
    except ClientError as error:
        return visit.problem(503, "The service does not answer at the moment", str(error))


def _missing(visit: Visit, detail: str) -> str:
    """Return the service's detail; where a page's own object is missing, name it instead of what was expected."""
    found = re.fullmatch(r"expected the id or name of a (\w+) that exists, got .*", detail, re.DOTALL)
    if found is None:
        return detail
    name = visit.request.path_params.get("id")
    kind = found[1].replace("_", " ")
    return f"There is no {kind} `{name}`." if name else f"There is no such {kind}."


async def _out_of_date(visit: Visit) -> Response:
    """Answer a write from a page whose session has ended; `form.js` keeps the form's content."""
    back = local(visit.request.headers.get("referer", "/"))
    if "hx-request" in visit.request.headers:  # a check of a form, which must stay on the page
        return visit.render("signed_out.html", back=back)
    try:
        await visit.client.whoami()
    except Refused as refused:
        if refused.status == 401:
            return visit.go("/sign-in?" + urlencode({"next": back}))
        raise
    detail = "Your session has changed since the page was opened, so nothing was done. Go back and try again."
    return visit.problem(403, "This page is out of date", detail)


async def _is_ours(visit: Visit, known: bool, forms: bool) -> bool:
    """Return whether a write comes from one of our pages, which all contain the session's token."""
    given = visit.request.headers.get("x-csrf-token", "")
    if forms:
        visit.form = await visit.request.form()
        given = given or str(visit.form.get("csrf", ""))
    return known and visit.session.approves(given)


def _to_sign_in(visit: Visit) -> Response:
    request = visit.request
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = "/sign-in?" + urlencode({"next": here})
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": target})
    return visit.go(target)
