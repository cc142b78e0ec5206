"""Datasets: opened from folders and uploads, checked, converted between formats, and drawn."""

from rdrkd.data.dataset import Dataset
from rdrkd.data.opening import open_dataset

__all__ = ["Dataset", "open_dataset"]
