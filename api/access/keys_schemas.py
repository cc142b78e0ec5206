"""API keys as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.caller import Scope
from api.tables.keys import ApiKey
from api.timestamps import Timestamp
from rdrkd.spec import Moment
from rdrkd.spec.forms import form

OWNER = form(
    r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$",
    "up to 64 letters, digits, `_`, `.`, `@` and `-` that begin with a letter or digit",
)
Owner = Annotated[str, Field(pattern=OWNER, examples=["survey-team"])]
Name = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=200,
        pattern=form(r"^[^\x00-\x1f]+$", "a text without control characters"),
    ),
]


class KeyRequest(BaseModel):
    """An API key to create."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="display name: what the key is for", examples=["nightly distillation"])
    owner: Owner = Field(description="owner of what the key creates and sees; several keys may share an owner")
    scope: Scope = Field(Scope.SUBMIT, description="`read`; `submit`: also read; `admin`: everything, of all owners")
    expires_at: Moment | None = Field(None, description="expiry; null: never")


class KeyView(BaseModel):
    """An API key without its secret."""

    id: str = Field(examples=["key_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["api_key"] = "api_key"
    name: str
    owner: str
    scope: Scope
    created_at: Timestamp
    expires_at: datetime | None
    last_used_at: Timestamp | None = Field(description="to the minute")
    revoked_at: Timestamp | None

    @classmethod
    def of(cls, row: ApiKey, **more: Any) -> Self:
        """Build the view of a row, with `more` fields of a wider view."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        return cls(**shown, **more)


class NewKeyView(KeyView):
    """A new API key."""

    key: str = Field(description="the bearer token, shown only in this response", examples=["rdr_0199f0a1..._5f6c..."])


class CallerView(BaseModel):
    """The caller, as the service knows it."""

    object: Literal["caller"] = "caller"
    key: str = Field(
        description="id of the API key; `token` or `loopback`: the operator",
        examples=["key_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"],
    )
    owner: str | None = Field(description="owner of what the caller creates; null: the operator, who sees everything")
    scope: Scope
