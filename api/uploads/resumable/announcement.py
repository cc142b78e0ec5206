"""The header `Upload-Metadata`, which describes a file before the client sends it."""

import base64
import binascii
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from api.errors import BadRequest, FieldError, Invalid
from api.tables.uploads import SUFFIXES, suffix_of
from api.uploads.datasets.reading import DIVIDE, KEEP, LENIENT, Divide, check_keep
from rdrkd.spec import SHA256
from rdrkd.spec.problems import problems_of

HEADER = "Upload-Metadata"
_PAIR = re.compile(r"([!-+\--~]+)(?: +([A-Za-z0-9+/=]*))?")  # a key in ASCII without space and comma, a value in base64


class Announcement(BaseModel):
    """The description of a file to upload."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["dataset", "model"] = Field(description="kind of object that the file becomes")
    filename: Annotated[str, Field(min_length=1, max_length=200, description="its suffix determines the format")]
    name: str | None = Field(None, max_length=200, description="display name")
    sha256: str | None = Field(None, pattern=SHA256, description="SHA-256 of the whole file, hex: checked at the end")

    lenient: bool = Field(False, description=f"of a dataset: {LENIENT}")
    keep: bool = Field(False, description=f"of a dataset: {KEEP}")
    divide: Divide = Field(None, description=f"of a dataset: {DIVIDE}")

    @field_validator("filename", "name")
    @classmethod
    def _printable(cls, text: str | None) -> str | None:
        if text is not None and not text.isprintable():
            raise ValueError(f"expected printable characters, got {text[:40]!r}")
        return text

    @model_validator(mode="after")
    def _suffix_of_its_kind(self) -> "Announcement":
        for field in ("lenient", "keep", "divide"):
            if getattr(self, field) and self.kind != "dataset":
                raise ValueError(f"expected `{field}` only for a dataset, got it for a {self.kind}")
        check_keep(self.lenient, self.keep)
        if suffix_of(self.filename, SUFFIXES[self.kind]) is None:
            expected = " or *".join(SUFFIXES[self.kind])
            raise ValueError(f"expected a {self.kind} as a file named *{expected}, got {self.filename!r}")
        return self

    @property
    def suffix(self) -> str:
        """Return the file's suffix in the store, such as `.zip`."""
        return suffix_of(self.filename, SUFFIXES[self.kind]) or ""

    @classmethod
    def read(cls, header: str) -> "Announcement":
        """Read the header: pairs of a key and a base64 value, separated by commas.

        Raises:
            BadRequest: it is malformed.
            Invalid: a field is missing, unknown, or out of bounds.

        >>> Announcement.read("kind ZGF0YXNldA==,filename YS56aXA=").filename
        'a.zip'
        """
        pairs = _pairs(header)
        try:
            return cls.model_validate(pairs)
        except ValidationError as error:
            problems = problems_of(error, pairs)
            detail = "; ".join(f"{problem.where.lstrip('/') or 'filename'}: {problem.detail}" for problem in problems)
            raise Invalid(detail, [FieldError(parameter=HEADER, detail=detail)]) from None


def _pairs(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in header.split(","):
        pair = _PAIR.fullmatch(item.strip())
        if pair is None or pair[1] in found:
            raise BadRequest(f"expected {HEADER} as `key base64,key base64`, each key once, got {item.strip()[:80]!r}")
        try:
            found[pair[1]] = base64.b64decode(pair[2] or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise BadRequest(
                f"expected base64 of UTF-8 as the value of {pair[1]} in {HEADER}, got other data"
            ) from None
    return found
