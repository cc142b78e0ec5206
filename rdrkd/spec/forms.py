"""Text formats: a pattern for validation, and words for error messages.

Errors never show a pattern: "`job_` and 32 hexadecimal digits" is more helpful for a mistyped id.
"""

_WORDS: dict[str, str] = {}


def form(pattern: str, words: str) -> str:
    """Return the pattern, and register the words that refusals use for it: they follow "expected".

    >>> words_of(form(r"^zz_[0-9]$", "`zz_` and a digit"))
    '`zz_` and a digit'
    """
    _WORDS[pattern] = words
    return pattern


def words_of(pattern: str) -> str:
    """Return the words for a pattern; for an unregistered one, generic words."""
    return _WORDS.get(pattern, "a text of another form")
