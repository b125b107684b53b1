"""Tail probabilities of the distributions that the tests use, in numpy: scipy would add 113 MB and a second to a cold start."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

_STEP = 1e-17
# skewness below which the normal tail is used: the gamma's shape would be very large and its sums long
_SYMMETRIC = 0.01
_Z95 = 1.959963984540054
_Z90 = 1.6448536269514722
# degrees of freedom from which Wilson and Hilferty's cube is accurate enough
_CUBE_FROM = 2.0
# below it lgamma has full precision; above it Stirling's series has, with five terms
_STIRLING = 15.0
_STIRLING_TERMS = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
# degrees of freedom from which a variance counts as known: p-values of 1 in 3,000 are off by a tenth
_KNOWN_FROM = 400.0
# larger p-values are never significant and returned without correction
_LIKELY = 0.2
# quadrature nodes: tails of t are accurate to two digits down to 1e-4 with 5 degrees of freedom, down to 1e-6 with 10
_NODES = 48


def noncentral_chi2_tail(x: float, df: float, noncentrality: float) -> float:
    """Return P(X > x) for a non-central chi-square variable: central tails weighted by a Poisson distribution.

    See: Johnson, Kotz and Balakrishnan 1995, "Continuous Univariate Distributions" volume 2, 29.4.

    Example:
        >>> round(noncentral_chi2_tail(16.92, 9, 0), 3)
        0.05
    """
    if x <= 0:
        return 1.0
    mean, deviation = df + noncentrality, math.sqrt(2 * (df + 2 * noncentrality))
    if x > mean + 60 * deviation:
        return 0.0  # below 1e-100: no decision needs it
    half, y = noncentrality / 2, x / 2
    # range of the terms that matter: from the mode of the weights to the rise of the tails, with a margin
    low = max(0, int(half - 12 * math.sqrt(half + 1)))
    high = int(max(half, y) + 12 * math.sqrt(max(half, y) + 1) + 20)
    j = np.arange(low, high + 1)
    # log weights: Poisson(half) at j, by cumulative ratios from the lowest
    if half == 0:
        return _central_tail(df / 2, y)
    weights = _log_poisson(low, half) + np.concatenate([[0.0], np.cumsum(np.log(half / j[1:]))])
    # central tails: Q(a + 1, y) = Q(a, y) + y^a e^-y / Gamma(a + 1)
    a = df / 2 + j
    steps = _log_poisson(float(a[0]), y) + np.concatenate([[0.0], np.cumsum(np.log(y / a[1:]))])
    tails = _central_tail(float(a[0]), y) + np.concatenate([[0.0], np.cumsum(np.exp(steps))[:-1]])
    return float(min(1.0, (np.exp(weights) * tails).sum()))


def chi2_point(df: float, known_by: float | None = None) -> float:
    """Return the 95 % quantile of a chi-square variable, accurate to 1 %.

    From two degrees of freedom on it is Wilson and Hilferty's cube; below, it is found by bisection. If the variance was estimated
    it is the quantile of ``df`` times Fisher's F, by Paulson's cube: accurate to 3 % from 4 degrees of freedom of the estimate on,
    too high below, and by up to a fifth if ``df`` is below 2.

    See: Wilson and Hilferty 1931, "The distribution of chi-square", PNAS 17; Paulson 1942, "An approximate normalization of the
    analysis of variance distribution", Annals of Mathematical Statistics 13.

    Args:
        df: Degrees of freedom, above 0, may be fractional.
        known_by: Degrees of freedom of the estimated variance. Default: it is known.

    Example:
        >>> round(chi2_point(9.0), 1), round(chi2_point(9.0, 8.0), 1)
        (16.9, 30.6)
    """
    if known_by is not None and known_by < _KNOWN_FROM:
        # at least two: the quantile does not exist for fewer
        few, at_least = max(2.0, known_by), max(df, _CUBE_FROM)
        estimated, known = _f_point(at_least, few), chi2_point(at_least)
        return estimated if df >= _CUBE_FROM else chi2_point(df) * estimated / known
    if df >= _CUBE_FROM:
        return df * (1 - 2 / (9 * df) + _Z90 * math.sqrt(2 / (9 * df))) ** 3
    low, high = 0.0, 6.0
    while high - low > 5e-3 * high and high > _STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if _central_tail(df / 2, middle / 2) > 0.05 else (low, middle)
    return (low + high) / 2


def _f_point(df: float, freedom: float) -> float:
    """Return ``df`` times the 95 % quantile of Fisher's F, the larger root of Paulson's normal approximation."""
    own, other = 2 / (9 * df), 2 / (9 * freedom)
    square, middle, rest = ((1 - other) ** 2 - _Z90**2 * other, (1 - other) * (1 - own), (1 - own) ** 2 - _Z90**2 * own)
    return df * ((middle + math.sqrt(middle**2 - square * rest)) / square) ** 3


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """Return P(X >= successes) for a binomial variable.

    Example:
        >>> binomial_tail(2, 2, 0.5)
        0.25
    """
    if successes <= 0:
        return 1.0
    if successes > trials or probability <= 0:
        return 0.0
    if probability >= 1:
        return 1.0
    # sum away from the mean, over decreasing terms, for 12 standard deviations or the far tail of a Poisson variable
    upper = successes > trials * probability
    reach = int(12 * math.sqrt(trials * probability * (1 - probability))) + 120
    k = np.arange(successes, min(trials, successes + reach) + 1)
    if not upper:
        k = np.arange(max(0, successes - reach), successes)[::-1]
    log_first = _log_binomial(int(k[0]), trials, probability)
    odds = probability / (1 - probability)
    n, m = k[:-1].astype(np.float64), float(trials)
    ratios = np.log((m - n) / (n + 1) * odds) if upper else np.log(n / (m - n + 1) / odds)
    total = float(np.exp(log_first + np.concatenate([[0.0], np.cumsum(ratios)])).sum())
    return min(1.0, max(0.0, total if upper else 1.0 - total))


def skewed_tail(z: float, skewness: float) -> float:
    """Return P(Z > z) for a standardised mean of skewed values, by Pearson's type III distribution (normal at skewness 0).

    The mean of a few hundred prices is skewed: beyond four standard deviations the normal tail is several times too small.

    See: Johnson, Kotz and Balakrishnan 1994, "Continuous Univariate Distributions" volume 1, 17.2.

    Args:
        z: Standardised value, at least 0.
        skewness: Skewness of the mean in the direction of ``z``; a negative one (a lighter tail) counts as 0.

    Example:
        >>> round(skewed_tail(1.6449, 0.0), 3), round(skewed_tail(1.6449, 1.0), 3)
        (0.05, 0.068)
    """
    if skewness < _SYMMETRIC:
        return 0.5 * math.erfc(z / math.sqrt(2))
    shape = 4 / skewness**2
    return _central_tail(shape, shape + z * math.sqrt(shape))


def estimated_tail(tail: Callable[[float], float], freedom: float | None) -> float:
    """Return the p-value of a statistic whose variance was estimated: the mean of ``tail`` over the distribution of the estimate.

    For a normal variable that is Student's t, for a chi-square over its degrees of freedom Fisher's F; likewise non-central ones.

    See: Abramowitz and Stegun 1964, "Handbook of Mathematical Functions", 26.6.2 and 26.7.1; Golub and Welsch 1969, "Calculation of
    Gauss quadrature rules", Mathematics of Computation 23.

    Args:
        tail: Returns the p-value for a ratio of estimated to true variance.
        freedom: Degrees of freedom of the estimate: the ratio is a chi-square variable over them. None: the variance is known.

    Example:
        >>> normal = lambda ratio: math.erfc(2.0930 * math.sqrt(ratio / 2))
        >>> round(normal(1.0), 3), round(estimated_tail(normal, 19.0), 3)
        (0.036, 0.05)
    """
    known = tail(1.0)
    if freedom is None or freedom >= _KNOWN_FROM or known > _LIKELY:
        return known
    if freedom <= 0:
        return 1.0
    ratios, weights = _ratios(freedom)
    return min(1.0, math.fsum(weight * tail(ratio) for ratio, weight in zip(ratios, weights, strict=True)))


@lru_cache(maxsize=64)
def _ratios(freedom: float) -> tuple[list[float], list[float]]:
    """Return Gauss-Laguerre nodes and weights for the mean over a chi-square variable divided by its degrees of freedom."""
    order = np.arange(_NODES, dtype=np.float64)
    power = freedom / 2 - 1
    beside = np.sqrt(order[1:] * (order[1:] + power))
    nodes, vectors = np.linalg.eigh(np.diag(2 * order + power + 1) + np.diag(beside, 1) + np.diag(beside, -1))
    return (nodes / (freedom / 2)).tolist(), (vectors[0] ** 2).tolist()


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Return Wilson's 95 % confidence interval of a share; for clustered rows pass counts divided by their design effect.

    See: Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22.

    Example:
        >>> [round(bound, 4) for bound in wilson(0, 100)]
        [0.0, 0.037]
    """
    if trials <= 0:
        return 0.0, 1.0
    share, square = successes / trials, _Z95**2
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = _Z95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    # exact ends without successes, and without failures
    return (0.0 if successes <= 0 else max(0.0, centre - half)), (
        1.0 if successes >= trials else min(1.0, centre + half)
    )


def _log_binomial(k: int, trials: int, probability: float) -> float:
    """Return log P(X = k) for a binomial variable, accurate for millions of trials, where logarithms of factorials cancel.

    See: Loader 2000, "Fast and accurate computation of binomial probabilities".
    """
    if k == 0:
        return trials * math.log1p(-probability)
    if k == trials:
        return trials * math.log(probability)
    rest = trials - k
    corrections = _stirling_error(trials) - _stirling_error(k) - _stirling_error(rest)
    deviances = _deviance(k, trials * probability) + _deviance(rest, trials * (1 - probability))
    return corrections - deviances - 0.5 * math.log(2 * math.pi * k * (rest / trials))


def _log_poisson(x: float, mean: float) -> float:
    """Return log(mean^x e^-mean / Gamma(x + 1)) for any x of at least 0.

    See: Loader 2000, "Fast and accurate computation of binomial probabilities".
    """
    if x < _STIRLING:
        return x * math.log(mean) - mean - math.lgamma(x + 1)
    return -_stirling_error(x) - _deviance(x, mean) - 0.5 * math.log(2 * math.pi * x)


def _stirling_error(x: float) -> float:
    """Return log Gamma(x + 1) minus Stirling's formula.

    See: NIST Digital Library of Mathematical Functions, 5.11.1.
    """
    if x < _STIRLING:
        return math.lgamma(x + 1) - (x + 0.5) * math.log(x) + x - 0.5 * math.log(2 * math.pi)
    return sum(term / x ** (2 * power + 1) for power, term in enumerate(_STIRLING_TERMS))


def _deviance(x: float, mean: float) -> float:
    """Return x log(x / mean) + mean - x without cancellation if x is close to the mean."""
    difference, total = x - mean, x + mean
    if abs(difference) > 0.1 * total:
        return x * math.log(x / mean) - difference
    ratio = difference / total
    found, term, odd = difference * ratio, 2 * x * ratio, 1
    while True:
        term *= ratio * ratio
        odd += 2
        if found + term / odd == found:
            return found
        found += term / odd


def _central_tail(a: float, y: float) -> float:
    """Return Q(a, y), the regularised upper incomplete gamma function.

    See: NIST Digital Library of Mathematical Functions, 8.7.1 (series) and 8.9.2 (continued fraction, Lentz's method).
    """
    scale = a * math.exp(_log_poisson(a, y))
    if y < a + 1:
        term = total = 1 / a
        n = a
        while term > total * _STEP:
            n += 1
            term *= y / n
            total += term
        return max(0.0, 1.0 - scale * total)
    b = y + 1 - a
    c, d = 1e300, 1 / b
    fraction = d
    for i in range(1, 100_000):
        numerator = -i * (i - a)
        b += 2
        d = 1 / (numerator * d + b)
        c = b + numerator / c
        change = c * d
        fraction *= change
        if abs(change - 1) < 1e-16:
            break
    return min(1.0, scale * fraction)
