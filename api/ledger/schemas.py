"""The ledger as the API shows it."""

from typing import Literal

from pydantic import BaseModel, Field


class Used(BaseModel):
    """Bytes that count against a storage quota, by what they are."""

    datasets: int
    previews: int
    models: int
    model_files: int = Field(description="models in the format that their check has written")
    artifacts: int = Field(description="what jobs have published")
    announced: int = Field(description="uploads in pieces that are not complete, with their whole length")
    reserved: int = Field(description="what requests and workers are writing now")
    total: int


class OwnerUsage(BaseModel):
    """What one owner has."""

    owner: str | None = Field(description="null: the operator, who has no quota")
    used: Used


class CacheUsage(BaseModel):
    """A folder of this machine of what can be made again; it counts against nobody's quota."""

    name: Literal["datasets", "objects"] = Field(description="unpacked datasets, or copies of a bucket's files")
    entries: int
    bytes: int
    evictable_bytes: int = Field(description="of what nobody uses now")
    excess_bytes: int = Field(description="beyond the bound: what goes next, the longest unused first")


class ServiceUsage(BaseModel):
    """What all owners have, and the machine that answers."""

    owners: list[OwnerUsage] = Field(description="those with the most first")
    more_owners: int = Field(description="how many are left out")
    free_bytes: int = Field(description="of the disk of the file store")
    unwritten_bytes: int = Field(description="reserved on it, and not written yet")
    min_free_bytes: int = Field(description="below which nothing new is taken")
    caches: list[CacheUsage]


class UsageView(OwnerUsage):
    """What the caller's owner has; for an admin, what everybody has, too."""

    object: Literal["usage"] = "usage"
    quota_bytes: int | None = Field(description="null: none")
    service: ServiceUsage | None = Field(description="for admins only")
