"""Weighted soft labels (WSLD): the teacher's class scores as soft labels, less where the student already does better.

Source: Zhou et al., ICLR 2021, arXiv 2102.00650. For the n foreground anchors, each with the class y of its object, and
softmax scores over the classes (`rdrkd.losses.foreground` says how a YOLO head has them):

    z^t, z^s   class logits                                   teacher, student  (n, C)
    T          temperature of the soft labels                 temperature
    c^t, c^s   -log p_y at temperature 1                      the cross-entropies with the class
    w          1 - exp(-c^s / (c^t + 1e-7)), in 0..1          sample_weight     (n,)

    L = T^2 sum_i w_i CE(softmax(z^t / T), softmax(z^s / T)) / n

The weight carries no gradient. It falls to 0 where the student is surer of the class than the teacher is: soft labels
regularise there, and would only add bias. L is a cross-entropy, not a divergence: at z^s = z^t, where its gradient is
0, it is (1 - 1/e) T^2 times the entropy of the soft labels.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rdrkd.losses.context import Branch, Context, Output
from rdrkd.losses.foreground import foreground_of, target_and_rest
from rdrkd.spec.losses import Wsld

_EPS = 1e-7


def sample_weight(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return w (n,), without gradient, for logits (n, C) and labels (n,)."""
    c_s, c_t = (_uncertainty(*target_and_rest(z.detach(), labels)) for z in (student, teacher))
    return -torch.expm1(-c_s / (c_t + _EPS))


def _uncertainty(target: Tensor, rest: Tensor) -> Tensor:
    """-log p_y, exact in fp32 for a p_y next to 1, where the ratio of two of them would be noise."""
    return softplus(rest.logsumexp(1) - target)


def soft_label_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 2.0) -> Tensor:
    """T^2 w CE (n,) for logits (n, C) and labels (n,); the published loss is its mean."""
    soft = (teacher.detach() / temperature).softmax(1)
    entropy = -(soft * (student / temperature).log_softmax(1)).sum(1)
    return temperature**2 * sample_weight(student, teacher, labels) * entropy


def wsld_term(term: Wsld, context: Context) -> Output:
    """L over the heads' branches."""

    def parts(branch: Branch) -> dict[str, Tensor]:
        student, teacher, labels, share = foreground_of(branch, term)
        return {"class": (share * soft_label_loss(student, teacher, labels, term.temperature)).sum()}

    return Output.over_branches(context, parts)
