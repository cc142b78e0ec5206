"""Routes whose endpoints run in one thread: transaction, commit, and the answer's bytes, without a wait in between.

FastAPI takes a thread each for a synchronous dependency's begin, the endpoint, the check of its answer and the
dependency's end. A transaction that stands open meanwhile holds its connection while it waits for threads.
"""

import inspect
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, get_args

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from api.access.transactions import UnitOfWork
from api.caller import READING
from api.http.dependencies import at_database, unit_of_work
from api.http.naming import use_ids

_REQUEST, _RESPONSE = "unit_request", "unit_response"  # what the endpoint itself may or may not ask for


class Route(APIRoute):
    """A route whose endpoint may ask for `Work`, if it is no coroutine; its path may name things by name."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with whole ids in the path's parameters."""
        await use_ids(scope)
        await super().handle(scope, receive, send)

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        work = [name for name, each in inspect.signature(endpoint).parameters.items() if _is_work(each)]
        super().__init__(path, self._unit(endpoint, work[0]) if work else endpoint, **options)

    def _unit(self, endpoint: Callable[..., Any], work_name: str) -> Callable[..., Any]:
        async def unit(**values: Any) -> Any:
            request, response = values.pop(_REQUEST), values.pop(_RESPONSE)
            for name in own:
                values[name] = request if own[name] is Request else response
            run = partial(self._run, endpoint, work_name, request, response, values)
            return await at_database(request, run, write=request.method not in READING)

        signature = inspect.signature(endpoint)
        own = {name: each.annotation for name, each in signature.parameters.items() if each.annotation in _OURS}
        kept = [each for name, each in signature.parameters.items() if name not in own and name != work_name]
        kept += [inspect.Parameter(_REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)]
        kept += [inspect.Parameter(_RESPONSE, inspect.Parameter.KEYWORD_ONLY, annotation=Response)]
        update_wrapper(unit, endpoint)
        unit.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return unit

    def _run(
        self,
        endpoint: Callable[..., Any],
        work_name: str,
        request: Request,
        response: Response,
        values: dict[str, Any],
    ) -> Any:
        """Run the endpoint in its transaction, and write its answer after the commit; all in this thread."""
        with unit_of_work(request, response) as work:
            answer = endpoint(**values, **{work_name: work})
        return self._written(answer, response)

    def _written(self, answer: Any, response: Response) -> Any:
        """Write what FastAPI would write on the event loop."""
        as_json = isinstance(answer, BaseModel) and isinstance(self.response_class, DefaultPlaceholder)
        if not as_json or self.response_field is None:
            return answer
        content = self.response_field.serialize_json(answer, by_alias=self.response_model_by_alias)
        status = response.status_code or self.status_code or 200
        written = Response(content, status, media_type="application/json")
        written.headers.raw.extend(response.headers.raw)
        return written


class Short(APIRoute):
    """A route for clients that poll: without a query its endpoint, a coroutine, is called with the path's parameters.

    What FastAPI does for a request (dependencies, two exit stacks, the check of the answer) takes longer than to read a
    row and write it as JSON. What the endpoint's query parameters default to must be what it does without them.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; with a query, or by another method, as FastAPI does."""
        await use_ids(scope)
        if scope["query_string"] or scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive, send)
        known = request.headers.get("if-none-match")
        response: Response = await self.endpoint(request=request, if_none_match=known, **scope["path_params"])
        await response(scope, receive, send)


_OURS = (Request, Response)


def _is_work(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is UnitOfWork or UnitOfWork in get_args(parameter.annotation)
