"""CrossKD in a pair of networks: the maps go where they should, against a teacher that is run whole with hooks."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rdrkd.distillation.distiller import Distiller
from rdrkd.losses import Branch, Context
from rdrkd.losses.crosskd import align_scale
from rdrkd.models import build
from rdrkd.models.head_split import stacks
from rdrkd.models.levels import forward
from rdrkd.spec import Crosskd, Recipe, Responsive
from rdrkd.ultralytics_adapter import DetectionModel, branches, decode_boxes
from tests.rdrkd.distillation.pairs import NAMES, batch
from tests.rdrkd.lively import lively

ENDS = (nn.BatchNorm2d, nn.Conv2d)  # what a block ends with before its activation: a fused one has no normalisation
PAIRS = [("yolov8n", "yolov8n-half"), ("yolov8n", "yolo11n"), ("yolo26n", "yolo26n"), ("yolov8n", "yolo26n"),
         ("yolo26n", "yolov8n")]  # fmt: skip
every_pair = pytest.mark.parametrize(("teacher", "student"), PAIRS)


def pair(teacher: str = "yolov8n", student: str = "yolov8n-half", **options: Any) -> Distiller:
    torch.manual_seed(0)
    model = build(student, NAMES)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=3)
    return Distiller(lively(build(teacher, NAMES)), model, Recipe((Crosskd(**options),))).train()


def seen_by(distiller: Distiller, data: dict[str, Any]) -> tuple[Context, Any]:
    """The context that the term is given, and what the step gives back."""
    seen: list[Context] = []
    term = distiller.projector["terms"]["crosskd"]  # type: ignore[index]
    handle = term.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    result = distiller.loss(data)
    handle.remove()
    return seen[0], result


def crossed_by_hooks(teacher: DetectionModel, image: Tensor, branch: str, given: Branch, split: int) -> dict[str, Any]:
    """The teacher run whole, with the student's map in the place of its own before the last activation of a block."""
    assert given.cross is not None
    handles = []
    for kind, levels in stacks(teacher.model[-1])[branch].items():
        maps = list(getattr(given.cross.student, kind).values())
        for stack, x in zip(levels, maps, strict=True):
            last = [module for module in stack[split - 1].modules() if isinstance(module, ENDS)][-1]
            handles.append(last.register_forward_hook(lambda _m, _i, out, x=x: align_scale(out, x)))
    prediction = branches(teacher(image))[branch]
    for handle in handles:
        handle.remove()
    return prediction


def close(found: Tensor, expected: Tensor) -> None:
    """The frozen teacher computes with a gradient by other operations than without: both are as far from float64."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.detach().abs().max()))


@pytest.mark.slow
@every_pair
@pytest.mark.parametrize("split", [1, 2])
def test_what_crosses_is_what_the_whole_teacher_makes_of_the_student_s_map(
    teacher: str, student: str, split: int
) -> None:
    distiller, data = pair(teacher, student, split=split), batch()
    context, _ = seen_by(distiller, data)
    names = ["one2many", "one2one"] if teacher == student == "yolo26n" else ["one2many"]
    assert len(context.branches) == len(names)
    for name, given in zip(names, context.branches, strict=True):
        assert given.cross is not None
        expected = crossed_by_hooks(distiller.teacher_model, data["img"], name, given, split)
        crossed = given.cross.rest(given.cross.teacher.joined(given.cross.student, align_scale))
        close(crossed.scores, expected["scores"])
        close(crossed.boxes, decode_boxes(expected, distiller.teacher_model.stride))
        assert (crossed.sides is None) == (teacher == "yolo26n")
        own = branches(distiller.teacher_model(data["img"]))[name]
        close(given.cross.rest(given.cross.teacher).scores, own["scores"])


@pytest.mark.slow
@every_pair
def test_it_reaches_student_and_mappers_and_nothing_reaches_the_teacher(teacher: str, student: str) -> None:
    distiller, data = pair(teacher, student), batch()
    before = copy.deepcopy(distiller.teacher_model.state_dict())
    parts, items = distiller.loss(data)
    parts[-1].backward()
    assert float(items["crosskd"]) > 0
    assert not distiller.probe.guard.watching
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in distiller.projector.parameters())
    assert all(p.grad is None and not p.requires_grad for p in distiller.teacher_model.parameters())
    after = distiller.teacher_model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)  # running statistics among them
    assert not any(module.training for module in distiller.teacher_model.modules())
    head = distiller.student_model.model[-1]
    rest = [p for levels in (head.cv2, head.cv3) for stack in levels for p in stack[1:].parameters()]
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in rest)  # its own is left to the task
    reached = [p for p in distiller.student_model.parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert len(reached) > 20


@pytest.mark.slow
def test_a_mapper_is_there_only_where_widths_differ() -> None:
    def keys(**options: Any) -> set[str]:
        return set(pair(**options).projector["adapters"])  # type: ignore[arg-type, index]

    assert keys() == {f"crosskd-one2many-scores-{stride}" for stride in (8, 16, 32)}
    assert keys(student="yolov8n") == set()
    assert len(keys(teacher="yolo26n", student="yolo26n")) == 0
    both = keys(teacher="yolo26s", student="yolo26n")
    assert {key.split("-")[1] for key in both} == {"one2many", "one2one"}
    assert keys(teacher="yolov8n", student="yolo26n") == {f"crosskd-one2many-boxes-{stride}" for stride in (8, 16, 32)}


def test_a_mapper_before_an_alignment_has_no_bias() -> None:
    for align, biases in ((True, 0), (False, 3)):
        names = [name for name, _ in pair(align_scale=align).projector.named_parameters()]
        assert sum(name.endswith("bias") for name in names) == biases


def test_a_student_that_is_the_teacher_has_nothing_to_learn() -> None:
    twin = lively(build("yolov8n", NAMES))
    twin.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=3)
    distiller = Distiller(twin, twin, Recipe((Crosskd(align_scale=False),)))
    distiller.eval()  # batch statistics would differ
    distiller.training = True
    _parts, items = distiller.loss(batch())
    assert float(items["crosskd"]) == pytest.approx(0, abs=1e-4)  # the teacher's normalisation is folded in, and rounds


def test_heads_are_run_in_halves_only_where_a_term_asks_for_it() -> None:
    splits: list[Any] = []

    def watched(model: Any, images: Tensor, layers: Any, split: int | None, decode: bool) -> Any:
        splits.append(split)
        return forward(model, images, layers, split, decode)

    for term in (Responsive(), Crosskd(split=2)):
        distiller = pair()
        distiller = Distiller(distiller.teacher_model, distiller.student_model, Recipe((term,)), watched).train()
        distiller.loss(batch())
    assert splits == [None, None, 2, 2]


def test_mixed_precision_runs_the_teacher_s_rest_and_the_mappers_and_not_the_loss() -> None:
    distiller, data = pair(), batch()
    _parts, items = distiller.loss(data)
    exact = float(items["crosskd"])
    types: dict[str, set[torch.dtype]] = {"rest": set(), "mapper": set()}
    distiller.teacher_model.model[-1].cv3[0][2].register_forward_hook(lambda _m, _i, out: types["rest"].add(out.dtype))
    for adapter in distiller.projector["adapters"].values():  # type: ignore[index, union-attr, operator]
        adapter.register_forward_hook(lambda _m, _i, out: types["mapper"].add(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        _parts, items = distiller.loss(data)
    assert types == {"rest": {torch.bfloat16}, "mapper": {torch.bfloat16}}
    assert items["crosskd"].dtype == torch.float32
    assert float(items["crosskd"]) == pytest.approx(exact, rel=0.15)  # two networks in bf16


@pytest.mark.slow
def test_mappers_are_drawn_alike_in_every_process() -> None:
    one, two = (pair("yolo26s", "yolo26n").projector.state_dict() for _ in range(2))
    assert list(one) == list(two)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert list(one) == sorted(one, key=lambda key: (key.count("one2one"), key.count("scores")))  # not by a hash


def test_no_objects_no_classes_to_tell_apart_and_one_image() -> None:
    torch.manual_seed(0)
    distiller = pair()
    for data in (batch(objects=False), batch(1)):
        parts, _items = distiller.loss(data)
        parts.sum().backward()
        assert parts.isfinite().all()
