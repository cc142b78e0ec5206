"""Presigned URLs: AWS Signature Version 4 in the query.

obstore also signs URLs, but cannot set the name under which the file is saved.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Access:
    """Keys to a bucket; temporary keys come with a token."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def presign(
    access: Access, address: str, region: str, expires_seconds: int, answer: Mapping[str, str], at: datetime
) -> str:
    """Sign a URL for a GET.

    Args:
        access: the keys to sign with.
        address: URL of the object, with its path unquoted.
        region: of the bucket.
        expires_seconds: how long the URL is valid.
        answer: headers of the response, such as `content-disposition`.
        at: the time of signing, UTC.
    """
    parts = urlsplit(address)
    moment, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
    scope = f"{day}/{region}/s3/aws4_request"
    query = {f"response-{name}": value for name, value in answer.items()} | {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{access.key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": access.token} if access.token else {}),
    }
    path = quote(parts.path, safe="/")
    asked = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
    request = f"GET\n{path}\n{asked}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{access.secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return f"{parts.scheme}://{parts.netloc}{path}?{asked}&X-Amz-Signature={signature}"
