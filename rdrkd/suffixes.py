"""Which files belong to a dataset, by the end of their names. No imports: the service knows these, too."""

IMAGES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
KEPT = IMAGES | {".txt", ".yaml", ".yml", ".json"}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
NESTED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})


def archive_suffix(name: str) -> str | None:
    """Give the suffix of an archive's name; None if it is none.

    >>> archive_suffix("hit uav.TAR.GZ"), archive_suffix("a.zip"), archive_suffix(".zip"), archive_suffix("a.gz")
    ('.tar.gz', '.zip', None, None)
    """
    lower = name.lower()
    return next((suffix for suffix in ARCHIVES if lower.endswith(suffix) and len(lower) > len(suffix)), None)
