"""Webhooks as the API shows them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.access.keys_schemas import Name
from api.jobs.events.webhook_messages import Event
from api.tables.webhooks import Delivery, DeliveryAttempt, DeliveryStatus, Webhook
from api.timestamps import Timestamp
from api.webhooks.vault import Vault

Url = Annotated[
    str,
    Field(
        min_length=1, max_length=2000, description="`https://` URL of a public host", examples=["https://ci.example/x"]
    ),
]
Events = Annotated[list[Event], Field(min_length=1, max_length=len(Event), description="events to send")]


class WebhookRequest(BaseModel):
    """A webhook to create."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url
    events: Events = Field(default_factory=lambda: list(Event))
    name: Name | None = Field(None, description="display name")


class WebhookChange(BaseModel):
    """The fields to change; fields that are left out keep their values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url | None = None
    events: Events | None = None
    name: Name | None = None
    enabled: bool | None = Field(None, description="`true` re-enables it, for events from now on")


class WebhookView(BaseModel):
    """A webhook without its secrets."""

    id: str = Field(examples=["whk_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["webhook"] = "webhook"
    name: str | None
    owner: str | None
    url: str
    events: list[Event]
    failing_since: Timestamp | None = Field(description="first failure since the last success")
    disabled_at: Timestamp | None
    disabled_reason: str | None
    can_sign: bool = Field(
        description="`false`: the service has lost the key that encrypts the secret; nothing is sent until the key is "
        "restored or the secret rotated"
    )
    created_at: Timestamp

    @classmethod
    def of(cls, row: Webhook, vault: Vault, **more: Any) -> Self:
        """Build the view of a row, with `more` fields of a wider view."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        return cls(**shown, can_sign=vault.can_sign(row.secrets), **more)


class NewSecretView(WebhookView):
    """A webhook with its new secret."""

    secret: str = Field(description="signing secret, shown only in this response", examples=["whsec_..."])


class DeliveryAttemptView(BaseModel):
    """One attempt to send a message."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    at: Timestamp = Field(description="time when the attempt ended")
    seconds: float
    status_code: int | None = Field(description="null: no response")
    error: str | None


class DeliveryView(BaseModel):
    """A message to a webhook."""

    id: str = Field(description="also sent as `webhook-id`", examples=["msg_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    object: Literal["webhook_delivery"] = "webhook_delivery"
    webhook_id: str
    event: str
    status: DeliveryStatus
    body: str = Field(description="message body as signed and sent")
    next_attempt_at: Timestamp | None = Field(description="time of the next attempt, while pending")
    attempts: list[DeliveryAttemptView]
    created_at: Timestamp
    finished_at: Timestamp | None

    @classmethod
    def of(cls, row: Delivery, attempts: list[DeliveryAttempt]) -> Self:
        """Build the view of a row and its attempts."""
        shown = {field: getattr(row, field) for field in cls.model_fields if hasattr(row, field)}
        shown |= {"attempts": [DeliveryAttemptView.model_validate(attempt) for attempt in attempts]}
        if row.status != DeliveryStatus.WAITING:
            shown["next_attempt_at"] = None
        return cls(**shown)
