import copy
from types import SimpleNamespace

import pytest
import torch

from rdrkd.diagnostics.findings import Findings
from rdrkd.distillation.distiller import Distiller
from rdrkd.models import build
from rdrkd.spec import Cwd, Decoupled, Distillation, Recipe, Regenerated, Responsive, Ultralytics
from rdrkd.ultralytics_adapter import DetectionTrainer
from tests.rdrkd.distillation.pairs import ALL, NAMES, batch, pair


def test_the_total_is_the_task_plus_the_weighted_sum_of_the_terms() -> None:  # Eq. 11
    distiller, data = pair(), batch()
    parts, items = distiller.loss(data)
    task = distiller.student_model.loss(data)[0]
    expected = sum(term.weight * float(items[term.name]) for term in ALL) * len(data["img"])
    assert float(parts[-1].detach()) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(parts[:-1], task)


@pytest.mark.slow
@pytest.mark.parametrize("student", ["yolov8n-half", "yolo11n", "yolo26n"])
def test_every_term_reaches_the_student_and_nothing_reaches_the_teacher(student: str) -> None:
    distiller = pair(student=student)
    parts, items = distiller.loss(batch())
    parts.sum().backward()
    assert not distiller.probe.guard.watching
    assert all(float(items[term.name]) > 0 for term in ALL)
    assert all(p.grad is None and not p.requires_grad for p in distiller.teacher_model.parameters())
    assert all(p.grad is not None for p in distiller.projector.parameters())


@pytest.mark.parametrize("preset", ["cwd", "pkd", "mgd", "fgd", "amd"])
def test_a_comparator_reaches_student_and_adapters_and_nothing_reaches_the_teacher(preset: str) -> None:
    distiller = pair(Distillation(preset=preset).recipe.terms)  # type: ignore[arg-type]
    parts, _items = distiller.loss(batch())
    parts[-1].backward()
    assert not distiller.probe.guard.watching
    assert all(p.grad is None and not p.requires_grad for p in distiller.teacher_model.parameters())
    assert len(distiller.projector["adapters"]) == 3
    assert all(p.grad is not None for p in distiller.projector.parameters())
    assert all(p.grad.abs().max() > 0 for p in distiller.projector["adapters"].parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in distiller.student_model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("student", ["yolov8n-half", "yolo26n"])
@pytest.mark.parametrize("preset", ["wsld", "nkd", "cwd+wsld", "mgd+dkd"])
def test_class_scores_reach_the_student_alone_or_beside_a_feature_term(preset: str, student: str) -> None:
    terms = Distillation(preset=preset).recipe.terms  # type: ignore[arg-type]
    distiller = pair(terms, student)
    parts, items = distiller.loss(batch())
    parts[-1].backward()
    assert not distiller.probe.guard.watching
    assert all(float(items[term.name]) > 0 for term in terms)
    assert all(p.grad is None and not p.requires_grad for p in distiller.teacher_model.parameters())
    assert len(distiller.projector["adapters"]) == (3 if len(terms) == 2 else 0)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in distiller.student_model.parameters())


def test_adapters_are_shared_unless_a_term_wants_its_own() -> None:
    shared = pair((Regenerated(), Decoupled()))
    own = pair((Regenerated(), Decoupled(adapter="own")))
    assert len(shared.projector["adapters"]) == 4
    assert len(own.projector["adapters"]) == 8


def test_an_adapter_has_no_bias_where_it_would_be_without_effect() -> None:
    assert [key for key, _ in pair((Cwd(),)).projector.named_parameters() if key.endswith("bias")] == []
    assert len([key for key, _ in pair((Cwd(adapter="shared"),)).projector.named_parameters()]) == 6


def test_the_teacher_is_a_guest() -> None:
    distiller = pair()
    inside = {name.split(".")[0] for name, _ in distiller.named_parameters()}
    assert inside == {"student_model", "projector"}
    assert not any(key.startswith("teacher") for key in distiller.state_dict())
    assert not distiller.teacher_model.training
    ema = copy.deepcopy(distiller)
    assert ema.teacher_model is None
    assert next(distiller.double().teacher_model.parameters()).dtype == torch.float64  # moves along


def test_called_as_a_model_it_is_the_student() -> None:
    distiller = pair().eval()
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(distiller(image)[0], distiller.student_model(image)[0])
    parts, items = distiller.loss(batch(), distiller(batch()["img"]))
    assert {name: float(items[name]) for name in distiller.weights} == dict.fromkeys(distiller.weights, 0.0)
    assert len(parts) == 3


@pytest.mark.parametrize("scale", [1, 2])
def test_a_teachers_level_that_the_student_lacks_says_nothing_of_the_others(scale: float) -> None:
    teacher, student = build("yolov8n-p2", NAMES), pair().student_model
    recipe = Recipe((Ultralytics(),), teacher_scale=scale)

    def value() -> float:
        torch.manual_seed(2)
        return float(Distiller(teacher, student, recipe).train().loss(batch())[1]["ultralytics"])

    def make_uneven(level: int) -> None:
        with torch.no_grad():
            scores = teacher.model[-1].cv3[level][-1]
            scores.weight.normal_(0, 10)
            scores.bias.zero_()

    for module in teacher.modules():  # or all cells look alike
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 3)
    plain = value()
    make_uneven(0)  # stride 4
    assert value() == plain
    make_uneven(1)  # stride 8, which the term compares
    assert value() != plain


def test_a_batch_without_objects_is_legal() -> None:
    distiller = pair()
    parts, _items = distiller.loss(batch(objects=False))
    parts.sum().backward()
    assert parts.isfinite().all()


def test_the_baseline_of_the_same_seed_draws_the_same_numbers() -> None:
    torch.manual_seed(5)
    student = build("yolov8n-half", NAMES)
    student.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    student = build("yolov8n-half", NAMES)
    student.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    Distiller(build("yolov8n", NAMES), student, Recipe(ALL))
    assert torch.equal(torch.rand(4), expected)


def test_doubling_the_batch_doubles_what_is_backpropagated() -> None:
    distiller, once = pair((Regenerated(), Decoupled())), batch(1)
    distiller.eval()  # batch statistics would differ
    distiller.training = True
    twice = {
        "img": once["img"].repeat(2, 1, 1, 1),
        "bboxes": once["bboxes"].repeat(2, 1),
        "cls": once["cls"].repeat(2, 1),
        "batch_idx": torch.cat([once["batch_idx"], once["batch_idx"] + 1]),
    }
    one, two = distiller.loss(once)[0], distiller.loss(twice)[0]
    assert float(two[-1].detach()) == pytest.approx(2 * float(one[-1].detach()), rel=1e-4)


def test_the_probe_logs_norms_and_shares_of_every_term() -> None:
    distiller = pair()
    distiller.loss(batch())
    found = distiller.probe.found
    assert {"task/gradient_norm", *(f"{term.name}/gradient_norm" for term in ALL)} <= set(found)
    assert all(value > 0 for key, value in found.items() if key.endswith("gradient_norm"))


def test_maps_are_looked_at_only_in_the_step_that_is_probed() -> None:
    distiller = pair()
    distiller.loss(batch())
    distiller.probe.found["batch/foreground"] = -1.0  # nobody has read it yet
    distiller.loss(batch())
    assert distiller.probe.found["batch/foreground"] == -1.0


@pytest.mark.slow
def test_a_schedule_that_falls_changes_no_finding_of_a_probe() -> None:
    distiller, findings = pair((Decoupled(),)), Findings()
    distiller.loss(batch())
    distiller.weights["decoupled"] /= distiller.probe.found["decoupled/ratio"]  # as much gradient as the task's
    for distiller.factor in (1.0, 1e-4, 1e-5, 0.0):
        distiller.probe.wanted = True
        distiller.loss(batch())
        found = distiller.probe.found
        assert found["schedule/factor"] == distiller.factor
        assert found["decoupled/ratio"] == pytest.approx(distiller.factor, rel=1e-3)
        assert findings.of(found, distiller.weights) == []


def test_responsive_alone_needs_no_adapter() -> None:
    assert not list(pair((Responsive(),)).projector.parameters())


def test_it_is_what_ultralytics_trainer_looks_for() -> None:
    distiller = pair()
    optimizer = DetectionTrainer.build_optimizer(
        SimpleNamespace(args=SimpleNamespace(), data={}), distiller, name="SGD", lr=0.1, momentum=0.9, decay=0.1
    )
    optimised = sum(len(group["params"]) for group in optimizer.param_groups)
    assert optimised == len(list(distiller.parameters()))
