"""Quantiles of Student's t for any number of degrees of freedom, whole or not. Standard library only.

See: W. Press and others, Numerical Recipes (third edition, 2007), 6.4 for the incomplete beta function by its continued fraction,
6.14.3 for Student's distribution in terms of it.
"""

import math

_TINY = 1e-300
_PRECISION = 1e-14
_TERMS = 10_000
_HALVINGS = 200


def student_quantile(share: float, degrees: float) -> float:
    """Return the value below which a share of Student's t lies.

    Args:
        share: Between 0 and 1.
        degrees: Degrees of freedom, 1 or more.

    Example:
        >>> round(student_quantile(0.975, 20), 3)
        2.086
    """
    if share < 0.5:
        return -student_quantile(1 - share, degrees)
    low, high = 0.0, 1.0
    while _above(high, degrees) > 1 - share:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _above(middle, degrees) > 1 - share else (low, middle)
    return high


def _above(value: float, degrees: float) -> float:
    """Return the share above a value that is not negative."""
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value)) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return min(1.0, max(0.0, x))
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )  # the same from either end
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction by Lentz's method."""
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _apart(1 + term * d)
            c = _apart(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _apart(value: float) -> float:
    """Return a value, or the smallest that may be divided by."""
    return value if abs(value) > _TINY else _TINY
