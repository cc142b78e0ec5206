"""Routes whose endpoints run in one thread: transaction, commit and serialisation, without waiting in between.

FastAPI uses a separate thread for a synchronous dependency's start, the endpoint, the validation of its response and
the dependency's end. An open transaction would hold its connection while it waits for these threads.
"""

import inspect
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, get_args

from fastapi import Request, Response, params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from api.access.transactions import UnitOfWork
from api.caller import READING
from api.http.dependencies import at_database, unit_of_work
from api.http.naming import use_ids
from api.http.unknown_parameters import refuse_unknown

_REQUEST, _RESPONSE = "unit_request", "unit_response"  # parameters that the endpoint itself may lack


class Route(APIRoute):
    """A route whose endpoint may depend on `Work` unless it is a coroutine, and whose path may contain names."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request, with complete ids in the path's parameters.

        Raises:
            Invalid: a list is asked for with a parameter that it does not have, such as a mistyped filter.
        """
        await use_ids(scope)
        if self.is_list and scope["query_string"]:
            refuse_unknown(QueryParams(scope["query_string"]), self.parameters)
        await super().handle(scope, receive, send)

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        work = [name for name, each in inspect.signature(endpoint).parameters.items() if _is_work(each)]
        super().__init__(path, self._unit(endpoint, work[0]) if work else endpoint, **options)
        self.parameters = [
            one.alias for one in get_flat_params(self.dependant) if isinstance(one.field_info, params.Query)
        ]
        self.is_list = (self.operation_id or "").startswith("list_") and bool(self.parameters)

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
        """Run the endpoint in its transaction, and serialise its response after the commit, all in this thread."""
        with unit_of_work(request, response) as work:
            answer = endpoint(**values, **{work_name: work})
        return self._written(answer, response)

    def _written(self, answer: Any, response: Response) -> Any:
        """Serialise what FastAPI would serialise on the event loop."""
        as_json = isinstance(answer, BaseModel) and isinstance(self.response_class, DefaultPlaceholder)
        if not as_json or self.response_field is None:
            return answer
        content = self.response_field.serialize_json(answer, by_alias=self.response_model_by_alias)
        status = response.status_code or self.status_code or 200
        written = Response(content, status, media_type="application/json")
        written.headers.raw.extend(response.headers.raw)
        return written


class Short(APIRoute):
    """A route for polling clients: without a query, its endpoint, a coroutine, is called with the path parameters only.

    FastAPI's work for a request (dependencies, two exit stacks, response validation) takes longer than reading and
    serialising a row. The endpoint without query parameters must behave as with their defaults.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the request; with a query or another method, through FastAPI."""
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
