"""The adapters phi: the maps that a term compares, and the layers that map the student's to the teacher's width."""

from torch import Tensor, nn

from rdrkd.losses import Unaligned
from rdrkd.models.levels import Tap
from rdrkd.spec import FeatureTerm, Term


def taps_of(term: Term) -> list[Tap]:
    """Return the maps that a term compares; empty for a term that compares heads."""
    return [(term.layers, stride) for stride in term.levels] if isinstance(term, FeatureTerm) else []


def adapter_key(term: Term, tap: Tap) -> str:
    """Return the key of a tap's adapter; terms with the same key share it."""
    assert isinstance(term, FeatureTerm)
    owner = "shared" if term.adapter == "shared" else term.name
    return f"{owner}-{tap[0]}-{tap[1]}"


def adapter(term: Term, student_channels: int, teacher_channels: int) -> nn.Module:
    """Build a 1x1 convolution, or (`mlp`) Ultralytics' two with a ReLU between."""
    assert isinstance(term, FeatureTerm)
    bias = term.adapter != "own" or term.adapter_bias  # a shared one may serve a term that needs a bias
    first = nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=bias)
    if term.adapter == "mlp":
        return nn.Sequential(first, nn.ReLU(inplace=True), nn.Conv2d(teacher_channels, teacher_channels, kernel_size=1))
    return first


def unaligned(adapter: nn.Module, x: Tensor) -> Unaligned | None:
    """Return a student map (B, C_s, H, W) with its adapter's weights; None if the adapter is not a 1x1 convolution."""
    return Unaligned(x, adapter.weight.flatten(1), adapter.bias) if isinstance(adapter, nn.Conv2d) else None
