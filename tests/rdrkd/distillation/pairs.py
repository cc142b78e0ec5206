"""A small pair with its distiller, and batches for it."""

from types import SimpleNamespace
from typing import Any

import torch

from rdrkd.distillation.distiller import Distiller
from rdrkd.models import build
from rdrkd.spec import Distillation, Recipe, Term

NAMES = ["a", "b", "c"]
ALL = Distillation(preset="rdr-kd").recipe.terms  # type: ignore[arg-type]


def pair(terms: tuple[Term, ...] = ALL, student: str = "yolov8n-half") -> Distiller:
    torch.manual_seed(0)
    model = build(student, NAMES)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=3)
    return Distiller(build("yolov8n", NAMES), model, Recipe(terms)).train()


def batch(images: int = 2, objects: bool = True) -> dict[str, Any]:
    torch.manual_seed(1)
    boxes = torch.tensor([[0.5, 0.5, 0.3, 0.3], [0.2, 0.2, 0.1, 0.1], [0.7, 0.7, 0.5, 0.4]])
    keep = len(boxes) if objects else 0
    return {
        "img": torch.rand(images, 3, 64, 64),
        "bboxes": boxes[:keep],
        "batch_idx": torch.tensor([0.0, 0.0, images - 1.0])[:keep],
        "cls": torch.tensor([[0.0], [1.0], [2.0]])[:keep],
    }
