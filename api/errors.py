"""The API's errors. They know their HTTP status and no web framework; `api.http.main` turns them into responses.

ApiError
|-- BadRequest             400 bad_request
|   |-- MalformedJson      400 malformed_json
|   |-- IfMatchMissing     400 if_match_missing
|   `-- HostNotAllowed     400 host_not_allowed
|-- Unauthorized           401 unauthorized
|-- Forbidden              403
|   |-- LoopbackOnly       403 loopback_only
|   |-- CrossSite          403 cross_site
|   `-- InsufficientScope  403 insufficient_scope
|-- NotFound               404 not_found
|   `-- Ambiguous          404 ambiguous
|-- MethodNotAllowed       405 method_not_allowed
|-- Conflict               409
|   |-- NotReady           409 not_ready
|   |-- AlreadyFinished    409 already_finished
|   |-- WrongOffset        409 wrong_offset
|   |-- UploadBusy         409 upload_busy
|   |-- NothingToResume    409 nothing_to_resume
|   |-- NotRetryable       409 not_retryable
|   |-- NotPausable        409 not_pausable
|   |-- NotPaused          409 not_paused
|   |-- NotChangeable      409 not_changeable
|   |-- NotEnded           409 not_ended
|   |-- InUse              409 in_use
|   `-- KeyInFlight        409 idempotency_key_in_flight
|-- Gone                   410 gone
|-- PreconditionFailed     412 precondition_failed
|-- UnknownProtocol        412 unknown_protocol
|-- TooLarge               413 too_large
|-- UnsupportedMediaType   415 unsupported_media_type
|-- RangeNotSatisfiable    416 range_not_satisfiable
|-- Unprocessable          422
|   |-- Invalid            422 invalid
|   |-- PathNotAllowed     422 path_not_allowed
|   |-- UnknownReference   422 unknown_reference
|   |-- UnusableReference  422 unusable_reference
|   `-- KeyReused          422 idempotency_key_reused
|-- TooMany                429
|   |-- RateLimited        429 rate_limited
|   `-- QuotaExceeded      429 quota_exceeded
|-- InternalError          500 internal
`-- Unavailable            503 unavailable
    |-- Overloaded         503 overloaded
    |-- StorageFull        503 storage_full
    `-- TooManyWaiting     503 too_many_waiting
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from rdrkd.errors import Problem


class FieldError(BaseModel):
    """One problem of a request."""

    pointer: str | None = Field(None, description="JSON pointer into the body, such as `/train/epochs`")
    parameter: str | None = Field(None, description="name of the query parameter, form field or header")
    detail: str = Field(description="what was expected and what came")


class ProblemDocument(BaseModel):
    """An RFC 9457 problem; clients should branch on `code`."""

    type: str = Field(examples=["urn:rdrkd:problem:invalid"])
    title: str
    status: int
    code: str
    detail: str
    instance: str = Field(description="id of the request, also in the X-Request-ID header and in the log")
    errors: list[FieldError] = Field(default_factory=list)


class ApiError(Exception):
    """Base class; the message says what was expected and what was received."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    headers: Mapping[str, str] = {}

    def __init__(
        self, detail: str, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        if headers is not None:
            self.headers = {**self.headers, **headers}

    @classmethod
    def at(cls, *problems: Problem) -> "ApiError":
        """Build the error from problems of the body's fields."""
        detail = "; ".join(f"{problem.where or 'the body'}: {problem.detail}" for problem in problems[:3])
        return cls(detail, [FieldError(pointer=problem.where, detail=problem.detail) for problem in problems])

    def document(self, instance: str) -> ProblemDocument:
        """Return the problem document for the request `instance`."""
        return ProblemDocument(
            type=f"urn:rdrkd:problem:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            instance=instance,
            errors=self.errors,
        )


class BadRequest(ApiError):
    """The request cannot be read."""

    status, code, title = 400, "bad_request", "Malformed request"


class MalformedJson(BadRequest):
    """The body is not valid JSON."""

    code, title = "malformed_json", "The body is not valid JSON"


class IfMatchMissing(BadRequest):
    """A change requires If-Match with the version to change."""

    code, title = "if_match_missing", "The If-Match header is missing"


class HostNotAllowed(BadRequest):
    """The Host header names another host; protects against DNS rebinding."""

    code, title = "host_not_allowed", "The Host header does not name this service"


class Unauthorized(ApiError):
    """The API key or token is missing or wrong, has expired or was revoked."""

    status, code, title = 401, "unauthorized", "A valid API key or token is required"
    headers = {"WWW-Authenticate": "Bearer"}


class Forbidden(ApiError):
    """The caller may not do this."""

    status, code, title = 403, "forbidden", "Permission denied"


class LoopbackOnly(Forbidden):
    """No token or key is configured, and the caller is on another machine."""

    code, title = "loopback_only", "Without a token or API keys, the service accepts local requests only"


class CrossSite(Forbidden):
    """A page of another site made the caller's browser send the request."""

    code, title = "cross_site", "Cross-site requests may not change anything"


class InsufficientScope(Forbidden):
    """The key's scope does not allow the request."""

    code, title = "insufficient_scope", "The key's scope is insufficient"


class NotFound(ApiError):
    """Nothing exists at this URL."""

    status, code, title = 404, "not_found", "Not found"


class Ambiguous(NotFound):
    """Several objects have the name, or the beginning of an id, that the URL contains."""

    code, title = "ambiguous", "The name is ambiguous"


class MethodNotAllowed(ApiError):
    """The path exists, but not with this method."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class Conflict(ApiError):
    """The request conflicts with the state of its object."""

    status, code, title = 409, "conflict", "The request conflicts with the current state"


class NotReady(Conflict):
    """The requested object does not exist yet."""

    code, title = "not_ready", "Not available yet"


class AlreadyFinished(Conflict):
    """The job has ended."""

    code, title = "already_finished", "The job has already ended"


class WrongOffset(Conflict):
    """A piece of an upload does not begin where the last one ended."""

    code, title = "wrong_offset", "The piece does not begin where the last one ended"


class UploadBusy(Conflict):
    """Another request is sending a piece of the same upload."""

    code, title = "upload_busy", "Another request is sending to this upload"
    headers = {"Retry-After": "1"}


class NothingToResume(Conflict):
    """No job of the study has failed or was cancelled."""

    code, title = "nothing_to_resume", "Nothing to resume: no job has failed or was cancelled"


class NotRetryable(Conflict):
    """The job has not failed and was not cancelled, or it cannot continue."""

    code, title = "not_retryable", "The job cannot be retried"


class NotPausable(Conflict):
    """The job has ended, or is being cancelled."""

    code, title = "not_pausable", "The job cannot be paused"


class NotPaused(Conflict):
    """The job is not paused, or not yet."""

    code, title = "not_paused", "The job is not paused"


class NotChangeable(Conflict):
    """The job has progressed too far for this change."""

    code, title = "not_changeable", "The job can no longer be changed in this way"


class NotEnded(Conflict):
    """The job is still active."""

    code, title = "not_ended", "The job has not ended"


class InUse(Conflict):
    """Something refers to the object to delete."""

    code, title = "in_use", "In use"


class KeyInFlight(Conflict):
    """A request with the same Idempotency-Key is in progress."""

    code, title = "idempotency_key_in_flight", "The first request with this Idempotency-Key is still being processed"
    headers = {"Retry-After": "1"}


class Gone(ApiError):
    """The object existed, but its file has been removed."""

    status, code, title = 410, "gone", "No longer available"


class UnknownProtocol(ApiError):
    """The client speaks another version of the upload protocol."""

    status, code, title = 412, "unknown_protocol", "Unsupported version of the upload protocol"
    headers = {"Tus-Version": "1.0.0"}


class PreconditionFailed(ApiError):
    """The object has changed since the caller read it."""

    status, code, title = 412, "precondition_failed", "Changed since it was read"


class BodyTooSlow(ApiError):
    """The body stopped arriving, or arrives too slowly."""

    status, code, title = 408, "body_too_slow", "The body arrives too slowly"


class TooLarge(ApiError):
    """The body exceeds the limit."""

    status, code, title = 413, "too_large", "The body is too large"


class UnsupportedMediaType(ApiError):
    """This endpoint does not accept the body's content type."""

    status, code, title = 415, "unsupported_media_type", "Unsupported content type"


class RangeNotSatisfiable(ApiError):
    """The requested range is outside the file."""

    status, code, title = 416, "range_not_satisfiable", "Range outside the file"


class Unprocessable(ApiError):
    """The request is well-formed but cannot be processed."""

    status, code, title = 422, "unprocessable", "The request cannot be processed"


class Invalid(Unprocessable):
    """A field is missing, unknown, or out of bounds."""

    code, title = "invalid", "Validation error"


class PathNotAllowed(Unprocessable):
    """The request contains a path, which only the command line accepts."""

    code, title = "path_not_allowed", "Paths are not allowed: the service takes ids"


class UnknownReference(Unprocessable):
    """The spec refers to something that does not exist."""

    code, title = "unknown_reference", "The spec refers to something that does not exist"


class UnusableReference(Unprocessable):
    """The spec refers to something that can never be used."""

    code, title = "unusable_reference", "The spec refers to something that cannot be used"


class KeyReused(Unprocessable):
    """The Idempotency-Key belongs to a different request."""

    code, title = "idempotency_key_reused", "The Idempotency-Key was used for a different request"


class TooMany(ApiError):
    """The caller exceeds a limit."""

    status, code, title = 429, "too_many", "Too many requests or resources"
    headers = {"Retry-After": "60"}


class RateLimited(TooMany):
    """The key has sent too many requests."""

    code, title = "rate_limited", "Rate limit exceeded"


class QuotaExceeded(TooMany):
    """The owner would exceed a quota; space returns when jobs start or end, or files are deleted."""

    code, title = "quota_exceeded", "Quota exceeded"


class HeadersTooLarge(ApiError):
    """The request has too many headers, or headers that are too long."""

    status, code, title = 431, "headers_too_large", "The request's headers are too many or too long"


class InternalError(ApiError):
    """A fault of the service: the log has the traceback, the response only the request's id."""


class Unavailable(ApiError):
    """The service cannot respond now, for example because its database is unreachable."""

    status, code, title = 503, "unavailable", "Service unavailable"
    headers = {"Retry-After": "5"}


class Overloaded(Unavailable):
    """More requests are waiting for the database than can be served soon."""

    code, title = "overloaded", "Overloaded: too many requests are waiting"
    headers = {"Retry-After": "1"}


class StorageFull(Unavailable):
    """The file store has no space left."""

    code, title = "storage_full", "The file store is full"
    headers = {"Retry-After": "600"}


class TooManyWaiting(Unavailable):
    """The limit of concurrent streams and long polls has been reached."""

    code, title = "too_many_waiting", "Too many clients are waiting"
