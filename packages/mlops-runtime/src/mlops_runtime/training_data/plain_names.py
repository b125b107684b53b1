"""Names of AWS resources and of stored columns, from names that people give to files and columns."""

import re
import unicodedata

# as these are spelled without their own key; all else loses its accents
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d"})


def plain_name(text: str, between: str = "-") -> str:
    """Return a name in lower-case letters of ASCII and digits.

    Args:
        text: As a person wrote it.
        between: Put for one or more other characters. Default: a hyphen.

    Example:
        >>> plain_name("Stückzahl (Woche)"), plain_name("Größe in m²", "_"), plain_name("Señal 1")
        ('stueckzahl-woche', 'groesse_in_m2', 'senal-1')
    """
    composed = unicodedata.normalize("NFC", text).casefold()
    letters = unicodedata.normalize("NFKD", composed.translate(_SPELLED)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", between, letters).strip(between)
