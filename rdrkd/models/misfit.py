"""Explain why tensors do not fit the network that their own configuration describes, and what their owner can do."""

from collections.abc import Mapping, Sequence

from torch import Tensor

_SHOWN = 3  # names of tensors listed per kind of fault


def misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], classes: Sequence[str]) -> str | None:
    """Return why tensors cannot be loaded, or None if names and shapes agree.

    Args:
        wanted: tensors of a network built from the configuration.
        found: tensors of the file.
        classes: class names in the file.
    """
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    reshaped = sorted(name for name in set(wanted) & set(found) if wanted[name].shape != found[name].shape)
    if missing and all(".bn." in name for name in missing) and not any(".bn." in name for name in found):
        return (
            "expected a network with its batch norms, got a fused one, which has them merged into its convolutions; "
            "use the checkpoint from before `fuse()` or `export()`, such as best.pt"
        )
    if reshaped and not missing and not extra and all(".cv3." in name for name in reshaped):
        heads = sorted({found[name].shape[0] for name in reshaped})
        came = ", ".join(map(str, heads))
        return f"expected a name for each of the {came} classes that the head has, got {len(classes)} names"
    kinds = (("missing", missing), ("not in it", extra))
    faults = [f"{len(names)} {kind} ({_few(names)})" for kind, names in kinds if names]
    if reshaped:
        first = reshaped[0]
        shapes = f"{tuple(wanted[first].shape)} expected and {tuple(found[first].shape)} found"
        faults.append(f"{len(reshaped)} of another shape ({first}: {shapes})")
    if not faults:
        return None
    changed = "was a layer changed or renamed after the model was built?"
    return f"expected the tensors of the file's own configuration, got others: {'; '.join(faults)}; {changed}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
