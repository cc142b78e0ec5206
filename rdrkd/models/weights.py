"""Weights files: read untrusted ones without executing code, write students that plain Ultralytics loads."""

import copy
import io
import json
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from rdrkd.errors import ModelError
from rdrkd.files import write_atomically
from rdrkd.models import size_limits
from rdrkd.models.architectures import build, name_of
from rdrkd.models.foreign_files import foreign_type, refusal_of_content, refusal_of_file
from rdrkd.models.misfit import misfit
from rdrkd.suggestion import file_suggestion
from rdrkd.ultralytics_adapter import (
    ULTRALYTICS_VERSION,
    Detect,
    DetectionModel,
    DistillationModel,
    torch_safe_load,
)

LICENSE = "AGPL-3.0 (https://ultralytics.com/license)"
_METADATA = "rdrkd"  # key of our JSON in a safetensors header
_MOST_CLASSES = 10_000
_LONGEST_NAME = 200  # characters of a class name
_SIDES = (32, 4096)  # px of an input


@dataclass(frozen=True)
class LoadedModel:
    """A model read from a file: built here, with only tensors and class names taken from the file."""

    model: DetectionModel  # fp32, on the CPU
    names: tuple[str, ...]
    architecture: str | None  # name on the allow-list; None for another layout
    path: Path | None = None  # absolute; None for a model made in this process
    imgsz: int | None = None  # side of its training's input, px, as claimed by the file

    @property
    def head(self) -> Detect:
        """The Detect head."""
        return self.model.model[-1]

    @property
    def strides(self) -> list[int]:
        """Strides of the head's levels, px."""
        return [int(stride) for stride in self.model.stride]


def load_weights(path: Path) -> LoadedModel:
    """Read a `.pt` (Ultralytics checkpoint) or `.safetensors` file without executing any code in it.

    A `.pt` is unpickled with `weights_only` and Ultralytics' allow-list, under a neutral name (Ultralytics looks at
    names such as `yolov5n.pt`). Then a fresh network is built from its configuration and only the tensors are copied.

    Raises:
        ModelError: not such a file, not a detection model, or tensors that do not fit its configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"expected a weights file, got nothing at {path.name}{file_suggestion(path)}")
    suffix = path.suffix.lower()
    if suffix in (".safetensors", ".pt") and (refusal := refusal_of_file(path)) is not None:
        raise ModelError(refusal)
    if suffix == ".safetensors":
        return replace(_load_safetensors(path), path=path.resolve())
    if suffix == ".pt":
        return replace(_load_checkpoint(path), path=path.resolve())
    raise ModelError(f"expected a .pt or .safetensors file, got {path.name}")


def _load_checkpoint(path: Path) -> LoadedModel:
    with tempfile.TemporaryDirectory() as folder:
        neutral = Path(folder) / "checkpoint.pt"
        neutral.symlink_to(path.resolve())
        try:
            checkpoint = _unpickled(neutral)
            found = _detector(checkpoint)
            size_limits.check_tree(found)
            names, tensors = _class_names(found), found.float().state_dict()
            imgsz, configuration = _imgsz(checkpoint), _configuration(found)
        except ModelError:
            raise
        except Exception as error:  # a damaged or hostile file can make the reader raise anything
            if (foreign := foreign_type(error)) is not None:
                raise ModelError(foreign) from error
            detail = _first(error).replace(str(neutral), "it")
            raise ModelError(f"expected an Ultralytics checkpoint, got one that cannot be read: {detail}") from error
    size_limits.check_configuration(configuration, len(tensors))
    return replace(_rebuild(configuration, names, tensors), imgsz=imgsz)


def _configuration(found: DetectionModel) -> Mapping[str, Any]:
    if (configuration := getattr(found, "yaml", None)) is None:
        raise ModelError("expected an Ultralytics checkpoint, got a network without its configuration (`yaml`)")
    return dict(configuration) if isinstance(configuration, Mapping) else configuration


def _imgsz(checkpoint: Mapping[str, Any]) -> int | None:
    """Return the input's longer side from the training settings; None if absent or implausible."""
    settings = checkpoint.get("train_args")
    side = settings.get("imgsz") if isinstance(settings, Mapping) else None
    sides = side if isinstance(side, list | tuple) and len(side) == 2 else [side]
    plain = all(type(each) is int and _SIDES[0] <= each <= _SIDES[1] for each in sides)
    return max(sides) if plain else None


def _unpickled(path: Path) -> Mapping[str, Any]:
    """Return a checkpoint's dictionary.

    Raises:
        ModelError: it is a list, a tensor or the like, in which Ultralytics finds no `model`.
    """
    try:
        checkpoint: Mapping[str, Any] = torch_safe_load(str(path), safe_only=True)[0]
    except AttributeError as error:
        raise ModelError(refusal_of_content(getattr(error, "obj", None))) from error
    return checkpoint


def _detector(checkpoint: Mapping[str, Any]) -> DetectionModel:
    found = checkpoint.get("ema") or checkpoint.get("model")
    if isinstance(found, DistillationModel):
        found = found.student_model
    if found is None or type(found) is not DetectionModel or type(found.model[-1]) is not Detect:
        raise ModelError(refusal_of_content(checkpoint))
    return found


def _first(error: BaseException) -> str:
    """Return the first sentence of an error, without Ultralytics' advice for its own command line."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].encode("ascii", "ignore").decode().removeprefix("ERROR").strip()
    return line.split(". Use an official")[0][:300]


def _class_names(model: DetectionModel) -> tuple[str, ...]:
    names = getattr(model, "names", None)
    if isinstance(names, dict) and len(names) <= _MOST_CLASSES:
        numbers = {str(key).removesuffix(".0").strip(): name for key, name in names.items() if type(key) is not bool}
        in_order = [numbers.get(str(index)) for index in range(len(names))]
        if any(name is None for name in in_order):
            came = ", ".join(ascii(key)[:40] for key in list(names)[:10])
            raise ModelError(f"expected class names under the numbers 0 to {len(names) - 1}, got the keys {came}")
        names = in_order
    if not isinstance(names, list | tuple) or not 0 < len(names) <= _MOST_CLASSES:
        raise ModelError(f"expected class names by class number, got {type(names).__name__}")
    called = tuple(_normal(str(name)) for name in names)
    if odd := next((name for name in called if not _is_a_name(name)), None):
        raise ModelError(f"expected class names of at most {_LONGEST_NAME} printable characters, got {ascii(odd)[:80]}")
    return called


def _normal(name: str) -> str:
    """Normalise a class name as for datasets: composed (NFC), without surrounding spaces."""
    return unicodedata.normalize("NFC", name).strip()


def _is_a_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def _rebuild(cfg: Mapping[str, Any], names: tuple[str, ...], tensors: Mapping[str, Tensor]) -> LoadedModel:
    model = _build_like(cfg, names, tensors)
    if (fault := misfit(model.state_dict(), tensors, names)) is not None:
        raise ModelError(fault)
    model.load_state_dict(dict(tensors))
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise ModelError("expected finite weights, got NaN or infinity")
    return LoadedModel(model.float(), names, name_of(model))


def _build_like(cfg: Mapping[str, Any], names: Sequence[str], tensors: Mapping[str, Tensor]) -> DetectionModel:
    """Build a network whose class branch is as wide as in `tensors`.

    The branch's width depends on the number of classes, and Ultralytics keeps the width of the start weights: COCO's 80
    classes make a branch of 80 channels, which keeps them when fine-tuned for three classes.
    """
    model = build(cfg, names)
    head = model.model[-1]
    last = tensors.get(f"model.{head.i}.cv3.0.{len(head.cv3[0]) - 1}.weight")
    if last is None or last.ndim != 4 or last.shape[1] == head.cv3[0][-1].in_channels:
        return model
    donor = build(cfg, [str(index) for index in range(min(last.shape[1], _MOST_CLASSES))]).model[-1]
    for branch in ("cv3", "one2one_cv3"):
        if (levels := getattr(donor, branch, None)) is not None:
            with torch.random.fork_rng(devices=[]):
                for level in levels:
                    level[-1] = nn.Conv2d(level[-1].in_channels, len(names), 1)
            setattr(head, branch, levels)
    return model


def _load_safetensors(path: Path) -> LoadedModel:
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_METADATA, "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ModelError(f"expected a safetensors file, got one that cannot be read: {_first(error)}") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("names"), list):
        raise ModelError(f"expected header metadata `{_METADATA}` with `architecture` and `names`, got none")
    names = tuple(_normal(str(name)) for name in metadata["names"])
    if not 0 < len(names) <= _MOST_CLASSES:
        raise ModelError(f"expected 1 to {_MOST_CLASSES} class names, got {len(names)}")
    return _rebuild(build(str(metadata.get("architecture")), names).yaml, names, tensors)


def save_student(
    model: DetectionModel, folder: Path, train_args: Mapping[str, Any], stem: str = "student"
) -> list[str]:
    """Write `student.pt` and `student.safetensors` into `folder`, each atomically.

    `student.pt` is a plain Ultralytics checkpoint in half precision, like Ultralytics' own final `best.pt`, without
    host paths. `student.safetensors` has the same tensors with its architecture and class names in the header.

    Args:
        model: the student; it is copied, not changed.
        folder: an existing folder.
        train_args: training settings to record; no paths.
        stem: name of the files without their suffixes.

    Returns:
        The names of the files written.
    """
    plain = _plain(model)
    names = list(plain.names.values())
    checkpoint = {
        "model": plain, "ema": None, "epoch": -1, "updates": None, "optimizer": None, "best_fitness": None,
        "train_args": {"task": "detect", **train_args}, "version": ULTRALYTICS_VERSION, "license": LICENSE,
        "docs": "https://docs.ultralytics.com",
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    written = [f"{stem}.pt"]
    write_atomically(folder / written[0], buffer.getbuffer())
    if architecture := name_of(plain):  # other layouts cannot be rebuilt from a name
        tensors = {key: value.contiguous() for key, value in plain.state_dict().items()}
        metadata = {_METADATA: json.dumps({"architecture": architecture, "names": names}), "license": LICENSE}
        written.append(f"{stem}.safetensors")
        write_atomically(folder / written[1], to_safetensors(tensors, metadata))
    return written


def _plain(model: DetectionModel) -> DetectionModel:
    """Return a half-precision copy without traces of this run: no hooks, criterion, paths, gradients."""
    plain = _build_like(model.yaml, list(model.names.values()), model.state_dict())
    plain.load_state_dict(copy.deepcopy(model.state_dict()))
    plain.yaml = {**plain.yaml, "yaml_file": Path(str(plain.yaml.get("yaml_file", "model.yaml"))).name}
    plain.half()
    plain.args = {"task": "detect"}
    plain.criterion = None
    for parameter in plain.parameters():
        parameter.requires_grad_(False)
    return plain.eval()


def parameters_of(model: nn.Module) -> int:
    """Count a model's parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
