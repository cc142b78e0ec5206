"""The forms that texts must have: a pattern for programs, and words for whoever sent something else.

A refusal never shows a pattern: whoever mistypes an id is helped by "`job_` and 32 hexadecimal digits".
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
    """Return what a pattern asks for, in words; of an unregistered one only that the form is wrong."""
    return _WORDS.get(pattern, "a text of another form")
