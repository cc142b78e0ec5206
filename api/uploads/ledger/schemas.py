"""The ledger as the API shows it."""

from typing import Literal

from pydantic import BaseModel, Field


class Used(BaseModel):
    """Bytes that count against a storage quota, by kind."""

    datasets: int
    previews: int
    models: int
    model_files: int = Field(description="models in the format that the check wrote")
    artifacts: int = Field(description="artifacts of jobs")
    announced: int = Field(description="incomplete resumable uploads, at their full size")
    reserved: int = Field(description="bytes that requests and workers are writing now")
    total: int


class OwnerUsage(BaseModel):
    """The storage usage of one owner."""

    owner: str | None = Field(description="owner; null: the operator, who has no quota")
    used: Used


class CacheUsage(BaseModel):
    """A cache folder of this machine; its files can be reproduced and count against no quota."""

    name: Literal["datasets", "objects"] = Field(
        description="`datasets`: unpacked datasets; `objects`: copies of bucket objects"
    )
    entries: int
    bytes: int
    evictable_bytes: int = Field(description="bytes that are not in use and may be evicted")
    excess_bytes: int = Field(description="bytes above the limit: evicted next, least recently used first")


class ServiceUsage(BaseModel):
    """Usage of all owners and of this machine."""

    owners: list[OwnerUsage] = Field(description="owners, largest first")
    more_owners: int = Field(description="number of owners left out")
    free_bytes: int = Field(description="free bytes on the disk of the file store")
    unwritten_bytes: int = Field(description="bytes reserved there and not yet written")
    min_free_bytes: int = Field(description="disk watermark: below it, new jobs and uploads are rejected")
    caches: list[CacheUsage]


class UsageView(OwnerUsage):
    """Usage of the caller's owner; for an admin, also of all owners."""

    object: Literal["usage"] = "usage"
    quota_bytes: int | None = Field(description="null: unlimited")
    service: ServiceUsage | None = Field(description="only for admins")
