"""The audit log as the API shows it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class AuditView(BaseModel):
    """One thing that was done."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["aud_0199f0a1b2c37d4e8f90a1b2c3d4e5f6"])
    at: datetime
    key: str = Field(description="id of the key that did it; `token`, `loopback` or `command`: the operator")
    owner: str | None = Field(description="whose key it is")
    action: str = Field(description="`operationId` of the address, such as `create_job`")
    object: str | None = Field(description="id of what it was done to, or of what was made")
    request_id: str | None = Field(description="also the answer's X-Request-ID; null: at the command line")
