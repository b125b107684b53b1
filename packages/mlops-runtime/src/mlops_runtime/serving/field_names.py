"""Detect similar field names: other case or word order, plural, additional words, or look-alike letters.

See: https://www.unicode.org/reports/tr39/#Confusable_Detection
"""

import re
import unicodedata

# look-alikes within ASCII, after case folding
_ALIKE = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "$": "s", "3": "e", "@": "a", "4": "a", "8": "b"}
)
_TOKEN = re.compile(r"[A-Za-z0-9$@|]+")
_WORD = re.compile(r"[A-Z]?[a-z0-9$@|]+|[A-Z]")
_WHOLE = 5  # minimum letters of a name that is also searched within words


def resembles(name: str, other: str) -> bool:
    """Return whether a field's name resembles or contains another.

    Example:
        >>> resembles("CustomerEmails", "email"), resembles("e-mail", "email"), resembles("usage", "age")
        (True, True, False)
    """
    words, wanted = _words(name), _words(other)
    if not wanted:
        return False
    whole = "".join(wanted)
    if "".join(words) == whole or (len(whole) >= _WHOLE and whole in "".join(words)):
        return True
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))


def is_readable(name: str) -> bool:
    """Return whether a name is printable ASCII; letters of other scripts may look like these."""
    return name.isascii() and name.isprintable()


def _words(name: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if unicodedata.category(c) not in ("Cf", "Mn"))
    tokens = _TOKEN.findall(plain)
    words = [word for token in tokens for word in ([token] if token.isupper() else _WORD.findall(token))]
    return [_singular(word.casefold()).translate(_ALIKE).replace("rn", "m").replace("vv", "w") for word in words]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
