"""Which files belong to a dataset, by their names. Without heavy imports, as the service uses it as well."""

from pathlib import PurePosixPath

IMAGES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# Image formats and caches that Ultralytics would read beside them, and that are never checked or trained on here.
UNREAD = frozenset({".avif", ".dng", ".heic", ".heif", ".jp2", ".jpeg2000", ".mpo", ".npy", ".pfm"})
KEPT = IMAGES | {".txt", ".yaml", ".yml", ".json", ".xml"}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
NESTED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})


def archive_suffix(name: str) -> str | None:
    """Return the suffix of an archive's name; None if it is not an archive.

    >>> archive_suffix("hit uav.TAR.GZ"), archive_suffix("a.zip"), archive_suffix(".zip"), archive_suffix("a.gz")
    ('.tar.gz', '.zip', None, None)
    """
    lower = name.lower()
    return next((suffix for suffix in ARCHIVES if lower.endswith(suffix) and len(lower) > len(suffix)), None)


def is_kept(name: str) -> bool:
    """Return whether an entry is unpacked, by its name.

    A Mac adds a `._name` twin to every file, with the same suffix but other content.

    >>> is_kept("d/a.JPG"), is_kept("d/._a.jpg"), is_kept("__MACOSX/a.jpg"), is_kept("d/run.sh")
    (True, False, False, False)
    """
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in KEPT and not hidden
