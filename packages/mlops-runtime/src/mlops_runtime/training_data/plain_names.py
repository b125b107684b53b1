"""Derive names of AWS resources and stored columns from names of files and columns."""

import re
import unicodedata

# letters with a common spelling in ASCII; all others lose their accents
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d"})


def plain_name(text: str, between: str = "-") -> str:
    """Return a name with only lower-case ASCII letters and digits.

    Args:
        text: The original name.
        between: Replacement for each run of other characters. Default: a hyphen.

    Example:
        >>> plain_name("Stückzahl (Woche)"), plain_name("Größe in m²", "_"), plain_name("Señal 1")
        ('stueckzahl-woche', 'groesse_in_m2', 'senal-1')
    """
    composed = unicodedata.normalize("NFC", text).casefold()
    letters = unicodedata.normalize("NFKD", composed.translate(_SPELLED)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", between, letters).strip(between)
