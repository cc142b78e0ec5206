"""Models: architectures, weights files, feature levels, and whether a pair fits."""

from rdrkd.models.architectures import build, name_of
from rdrkd.models.weights import LoadedModel, load_weights, save_student

__all__ = ["LoadedModel", "build", "load_weights", "name_of", "save_student"]
