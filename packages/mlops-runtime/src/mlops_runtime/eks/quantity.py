"""Kubernetes quantities, read exactly.

See: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from fractions import Fraction

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,2}))?", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


class QuantityError(ValueError):
    """Text is no Kubernetes quantity."""


def quantity(text: str) -> Fraction:
    """Return the number that a quantity says.

    Raises:
        QuantityError: If it is none.

    Example:
        >>> quantity("250m"), quantity("1Gi")
        (Fraction(1, 4), Fraction(1073741824, 1))
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise QuantityError(f"must be a Kubernetes quantity like 500m, 2 or 1Gi, got {text!r}")
    number, suffix, exponent = Fraction(found[1]), found[2], found[3]
    if suffix in _BINARY:
        return number * Fraction(2 ** (10 * _BINARY[suffix]))
    power = _DECIMAL.get(suffix, 0) if exponent is None else int(exponent)
    return number * (Fraction(10**power) if power >= 0 else Fraction(1, 10**-power))
