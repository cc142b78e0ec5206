"""Remove this machine's paths from messages shown to others."""

import re


def without_paths(text: str) -> str:
    """Reduce every absolute path to its last part: a message is shown to people elsewhere.

    >>> without_paths("cannot open /srv/data/jobs/1/state.pt: no space, see https://example.org/help")
    'cannot open state.pt: no space, see https://example.org/help'
    """
    return re.sub(r"(?<![\w/:.])/(?:[^\s/'\":,;()]+/)*([^\s/'\":,;()]+)/?", r"\1", text)
