"""A folder or data YAML as one file to upload; what cannot be packed is refused by name."""

import os
from pathlib import Path

import pytest

from rdrkd.cli.packing import packed
from rdrkd.errors import SpecError
from tests.rdrkd.data.crafted import make_dataset


def test_a_file_name_in_another_encoding_is_named(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d")
    (root / "images/train/a.png").rename(root / os.fsdecode(b"images/train/caf\xe9.png"))
    with pytest.raises(SpecError, match=r"expected file names in UTF-8, got b'images/train/caf\\xe9.png'"):
        packed(root, tmp_path)


def test_labels_outside_the_root_are_named(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "d", yaml=None)
    (root / "images/data.yaml").write_text("train: train\nval: val\nnames: [car]\n")
    with pytest.raises(SpecError, match="expected labels under the data YAML's `path`"):
        packed(root / "images/data.yaml", tmp_path)
