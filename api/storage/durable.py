"""Durable folders: their entries survive a power failure."""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Create a folder and its parents and sync each entry, so that a rename into it survives a power failure."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
