"""Normalised knowledge distillation (NKD): the target's score, and the other classes' normalised among themselves.

Source: Yang et al., ICCV 2023, arXiv 2303.13005. For the n foreground anchors, each with the class y of its object, and
softmax scores p over the classes (`rdrkd.losses.foreground` says how a YOLO head has them):

    z^t, z^s   class logits                                    teacher, student  (n, C)
    p_y        score of the class y, at temperature 1          target_loss
    p^         softmax over the classes without y, at T        non_target_loss
    T          temperature                                     temperature

    L = (-sum_i p^t_y log p^s_y + gamma T^2 sum_i CE(p^^t, p^^s)) / n

Both parts are cross-entropies, so that L is not 0 at z^s = z^t. There the second part is at its minimum, the entropy of
p^^t; the first has no minimum: as the task's own loss it always raises p^s_y, the more the surer the teacher is. Two
classes leave the second part nothing to compare: it is 0.
"""

from torch import Tensor

from rdrkd.losses.context import Branch, Context, Output
from rdrkd.losses.foreground import foreground_of, target_and_rest
from rdrkd.spec.losses import Nkd


def target_loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """-p^t_y log p^s_y (n,) for logits (n, C) and labels (n,)."""
    log_s, log_t = (target_and_rest(z.log_softmax(1), labels)[0] for z in (student, teacher.detach()))
    return -log_t.exp() * log_s


def non_target_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """CE(p^^t, p^^s) (n,) for logits (n, C) and labels (n,), without gamma and T^2."""
    rest_s, rest_t = (target_and_rest(z / temperature, labels)[1] for z in (student, teacher.detach()))
    return -(rest_t.softmax(1) * rest_s.log_softmax(1)).sum(1)


def nkd_term(term: Nkd, context: Context) -> Output:
    """Target part + gamma T^2 x non-target part, over the heads' branches."""

    def parts(branch: Branch) -> dict[str, Tensor]:
        student, teacher, labels, share = foreground_of(branch, term)
        scale = term.gamma * term.temperature**2
        return {
            "target": (share * target_loss(student, teacher, labels)).sum(),
            "non_target": scale * (share * non_target_loss(student, teacher, labels, term.temperature)).sum(),
        }

    return Output.over_branches(context, parts)
