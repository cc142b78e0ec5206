"""The audit log as the API shows it."""

from pydantic import BaseModel, ConfigDict, Field

from api.timestamps import Timestamp


class AuditView(BaseModel):
    """One entry of the audit log."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["aud_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    at: Timestamp
    key: str = Field(description="id of the API key; `token`, `loopback` or `command`: the operator")
    owner: str | None = Field(description="owner of the key")
    action: str = Field(description="`operationId` of the request, such as `create_job`")
    object: str | None = Field(description="id of the resource that was changed or created")
    request_id: str | None = Field(description="X-Request-ID of the response; null: from the command line")
