"""Pack a dataset's folder or data YAML into one file to upload: the same bytes for the same content at any path."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from rdrkd.errors import SpecError
from rdrkd.files import files_below
from rdrkd.suffixes import archive_suffix
from rdrkd.suggestion import file_suggestion

_THE_SAME = (1980, 1, 1, 0, 0, 0)  # a zip's earliest time, for all files, so that a second upload is recognised


def packed(path: Path, into: Path) -> Path:
    """Write a zip of a folder or of a data YAML's files to `into` and return it; return other files as they are.

    Raises:
        SpecError: the path does not exist, or the YAML names files outside its own root.
        DatasetError: the YAML does not describe a dataset.
    """
    if path.is_dir():
        files = sorted(files_below(path))
        return _zip(into / f"{path.resolve().name}.zip", ((str(file.relative_to(path)), file) for file in files))
    if path.suffix.lower() not in (".yaml", ".yml"):
        if not path.is_file():
            meant = file_suggestion(path)
            raise SpecError(f"expected a dataset (folder, data YAML, zip or tar) at {path}, got nothing there{meant}")
        if archive_suffix(path.name) is None:
            raise SpecError(f"expected a dataset (folder, data YAML, zip or tar), got {path.name}")
        return path
    return _zip(into / f"{path.resolve().parent.name}.zip", _named_by(path))


def _named_by(data: Path) -> Iterator[tuple[str, "Path | bytes"]]:
    """Yield name and content of each file of a data YAML's dataset."""
    from rdrkd.data.dataset import local_dataset

    dataset = local_dataset(data)
    root = dataset.root
    content: dict[str, object] = {"names": list(dataset.names)}
    for split, images in dataset.splits.items():
        if strange := next((image for image in images if not image.is_relative_to(root)), None):
            raise SpecError(f"expected images under the data YAML's `path`, {root}, to upload them, got {strange}")
        listed = "".join(f"./{image.relative_to(root)}\n" for image in images)
        content[split] = f"{split}.txt"
        yield f"{split}.txt", listed.encode()
        for image in images:
            yield str(image.relative_to(root)), image
            if (labels := dataset.label(image)).is_file():
                if not labels.is_relative_to(root):
                    raise SpecError(
                        f"expected labels under the data YAML's `path`, {root}, to upload them, got {labels}"
                    )
                yield str(labels.relative_to(root)), labels
    for split, annotations in dataset.annotations.items():
        yield f"annotations/{split}.json", annotations
    yield "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def _zip(target: Path, files: "Iterator[tuple[str, Path | bytes]]") -> Path:
    """Write files into a zip, each once, uncompressed: images are compressed already."""
    written: set[str] = set()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
        for name, content in files:
            if name in written:
                continue
            if not name.isascii() and os.fsencode(name).decode("utf-8", "replace") != name:
                raise SpecError(
                    f"expected file names in UTF-8, got {os.fsencode(name)!r}: rename it, then upload again"
                )
            written.add(name)
            info = zipfile.ZipInfo(name, _THE_SAME)
            if isinstance(content, bytes):
                made.writestr(info, content)
                continue
            info.file_size = content.stat().st_size
            with content.open("rb") as source, made.open(info, "w") as entry:
                while chunk := source.read(1 << 20):
                    entry.write(chunk)
    return target
