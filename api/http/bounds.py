"""Limits of a request's size that are checked before parsing, the same for every address.

Parsing costs time for every parameter, header and cookie, and a request of a few kilobytes can hold thousands.
"""

from starlette.types import Scope

from api.errors import BadRequest, HeadersTooLarge, NotFound

MOST_PARAMETERS = 64  # of a query; the longest useful list has about 20
QUERY_BYTES = 2**14
MOST_HEADERS = 100
HEADER_BYTES = 2**15


def check(scope: Scope) -> None:
    """Refuse a request that is too large, or whose path has characters that no id has.

    Raises:
        BadRequest: the query has too many parameters, or is too long.
        HeadersTooLarge: there are too many headers, or they are too long.
        NotFound: the path has a NUL, which PostgreSQL cannot even compare.
    """
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MOST_HEADERS or size > HEADER_BYTES:
        raise HeadersTooLarge(
            f"expected at most {MOST_HEADERS} headers of {HEADER_BYTES} bytes in all, got {len(headers)} of {size}"
        )
    query = scope["query_string"]
    number = query.count(b"&") + 1
    if number > MOST_PARAMETERS or len(query) > QUERY_BYTES:
        raise BadRequest(
            f"expected at most {MOST_PARAMETERS} query parameters of {QUERY_BYTES} bytes in all, "
            f"got {number} of {len(query)}"
        )
    if "\0" in scope["path"]:
        raise NotFound("expected a URL without NUL characters, got one that has some")
