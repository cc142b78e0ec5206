"""The predictions of two networks on one image, as a worker writes them, with hostile names."""

import base64
from typing import Any

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
DOCUMENT: dict[str, Any] = {
    "split": "val", "names": [HOSTILE, "van"],
    "networks": {"teacher": {"confidence": 0.2}, "student": {"confidence": 0.1}},
    "images": [{
        "file": "predictions-1.jpg", "name": HOSTILE, "width": 1360, "height": 765,
        "truth": [[0, 10, 20, 12, 8], [1, 100, 200, 60, 90]],
        "found": {"teacher": [[0, 10, 20, 12, 8, 0.91]], "student": []},
        "missed": {"teacher": [1], "student": [0, 1]},
        "maps": [{"term": "decoupled", "level": "P3", "png": PNG, "place": [0, -297.5, 1360, 1360]}],
    }],
}  # fmt: skip
