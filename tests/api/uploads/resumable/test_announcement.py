"""What a client says of a file before it sends it."""

import base64

import pytest

from api.errors import BadRequest, Invalid
from api.uploads.resumable.announcement import Announcement


def metadata(**fields: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())


def test_the_pairs_are_read() -> None:
    header = metadata(kind="model", filename="größe l.SAFETENSORS", name="large")

    file = Announcement.read(header)

    assert (file.kind, file.filename, file.name, file.sha256) == ("model", "größe l.SAFETENSORS", "large", None)
    assert file.suffix == ".safetensors"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"filename": "a.zip"}, "kind"),
        ({"kind": "dataset"}, "filename"),
        ({"kind": "video", "filename": "a.zip"}, "kind"),
        ({"kind": "dataset", "filename": "a.pt"}, "*.zip"),
        ({"kind": "model", "filename": ".pt"}, "*.pt or *.safetensors"),
        ({"kind": "dataset", "filename": "a.zip", "colour": "red"}, "colour"),
        ({"kind": "dataset", "filename": "a\x00.zip"}, "printable"),
        ({"kind": "dataset", "filename": "a.zip", "name": "x" * 201}, "200"),
        ({"kind": "dataset", "filename": "a.zip", "sha256": "ABC"}, "sha256"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("*", r"\*")) as refused:
        Announcement.read(metadata(**fields))

    assert refused.value.errors[0].parameter == "Upload-Metadata"


@pytest.mark.parametrize(
    "header", ["", "kind", "kind !", "kind Zg==,kind Zg==", "kind /w==", "kind Zg", ",", "a b c", "ключ Zg=="]
)
def test_another_form_is_a_bad_request(header: str) -> None:
    with pytest.raises((BadRequest, Invalid)):
        Announcement.read(header)
