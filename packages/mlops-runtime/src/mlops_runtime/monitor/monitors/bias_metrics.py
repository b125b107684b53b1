"""Clarify's bias metrics as functions of counts of rows by group, label and prediction.

The first axis of every table is draws; then ``d`` (0 facet a, all others; 1 facet d), ``y`` (observed label, 1 positive) and ``p``
(predicted label). A metric is NaN in a draw in which one of the two groups has no rows.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mlops_runtime.monitor.monitors.rows import Mask, Wide

_PRE = ("CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL")
_POST = ("DPPL", "DI", "DCA", "DCR", "SD", "RD", "DAR", "DRR", "AD", "TE", "CDDPL", "GE")
NAMES = (*_PRE, *_POST)
STAGES: Mapping[str, Literal["pre_training", "post_training"]] = {
    **dict.fromkeys(_PRE, "pre_training"),
    **dict.fromkeys(_POST, "post_training"),
}


def pre_training(table: Wide) -> dict[str, Wide]:
    """Return CI, DPL, KL, JS, LP, TVD and KS of counts by group and label.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-bias-metric-class-imbalance.html (CI),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-data-bias-metric-true-label-imbalance.html (DPL),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-data-bias-metric-kl-divergence.html (KL, in nats),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-data-bias-metric-jensen-shannon-divergence.html (JS),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-data-bias-metric-lp-norm.html (LP, p = 2),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-data-bias-metric-total-variation-distance.html (TVD),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-data-bias-metric-kolmogorov-smirnov.html (KS)

    Example:
        >>> found = pre_training(np.array([[[20.0, 80.0], [70.0, 30.0]]]))
        >>> round(float(found["DPL"][0]), 2), round(float(found["KL"][0]), 2)
        (0.5, 0.53)
    """
    size_a, size_d = _sizes(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        share_a, share_d = table[:, 0] / size_a[:, np.newaxis], table[:, 1] / size_d[:, np.newaxis]
        imbalance = (size_a - size_d) / (size_a + size_d)
    gap = np.abs(share_a - share_d)
    middle = (share_a + share_d) / 2
    found = {
        "CI": imbalance,
        "DPL": share_a[:, 1] - share_d[:, 1],
        "KL": _divergence(share_a, share_d),
        "JS": (_divergence(share_a, middle) + _divergence(share_d, middle)) / 2,
        "LP": np.sqrt((gap**2).sum(axis=1)),
        "TVD": gap.sum(axis=1) / 2,
        "KS": gap.max(axis=1),
    }
    return {name: np.where((size_a > 0) & (size_d > 0), drawn, np.nan) for name, drawn in found.items()}


def of_predictions(table: Wide) -> dict[str, Wide]:
    """Return CI, DPPL and DI of counts by group and predicted label, which need no labels.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-dppl.html (DPPL),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-di.html (DI)

    Example:
        >>> {name: round(float(drawn[0]), 2) for name, drawn in of_predictions(np.array([[[2.0, 8.0], [6.0, 4.0]]])).items()}
        {'CI': 0.0, 'DPPL': 0.4, 'DI': 0.5}
    """
    size_a, size_d = _sizes(table)
    share_a, share_d = _over(table[:, 0, 1], size_a), _over(table[:, 1, 1], size_d)
    found = {"CI": _over(size_a - size_d, size_a + size_d), "DPPL": share_a - share_d, "DI": _over(share_d, share_a)}
    return {name: np.where((size_a > 0) & (size_d > 0), drawn, np.nan) for name, drawn in found.items()}


def post_training(table: Wide) -> dict[str, Wide]:
    """Return DCA, DCR, SD, RD, DAR, DRR, AD, TE and GE of counts by group, label and predicted label.

    TE is the ratio of false negatives to false positives, as on its current page and in Clarify's library.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-dcacc.html (DCA),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-dcr.html (DCR),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-sd.html (SD),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-rd.html (RD),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-dar.html (DAR),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-drr.html (DRR),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-ad.html (AD),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-te.html (TE),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-ge.html (GE, alpha = 2)

    Example:
        The page of SD: 20 of 30 negatives of facet a are predicted, 18 of 23 of facet d.

        >>> table = np.array([[[[20.0, 10.0], [5.0, 65.0]], [[18.0, 5.0], [7.0, 20.0]]]])
        >>> round(float(post_training(table)["SD"][0]), 3)
        0.116
    """
    true_negative, false_positive = table[:, :, 0, 0], table[:, :, 0, 1]
    false_negative, true_positive = table[:, :, 1, 0], table[:, :, 1, 1]
    negative, positive = true_negative + false_positive, false_negative + true_positive
    rejected, accepted = true_negative + false_negative, false_positive + true_positive
    size = negative + positive
    ratios = {
        "DCA": (_over(positive, accepted), "a - d"),
        "DCR": (_over(negative, rejected), "d - a"),
        "SD": (_over(true_negative, negative), "d - a"),
        "RD": (_over(true_positive, positive), "a - d"),
        "DAR": (_over(true_positive, accepted), "a - d"),
        "DRR": (_over(true_negative, rejected), "d - a"),
        "AD": (_over(true_positive + true_negative, size), "a - d"),
        "TE": (_over(false_negative, false_positive), "d - a"),
    }
    found = {
        name: _less(ratio[:, 0], ratio[:, 1]) if sign == "a - d" else _less(ratio[:, 1], ratio[:, 0])
        for name, (ratio, sign) in ratios.items()
    }
    found["GE"] = _entropy(size.sum(axis=1), false_positive.sum(axis=1), false_negative.sum(axis=1))
    is_known = (size > 0).all(axis=1)
    return {name: np.where(is_known, drawn, np.nan) for name, drawn in found.items()}


def conditional_disparity(table: Wide) -> Wide:
    """Return CDDL or CDDPL of counts by stratum, group and outcome: facet d's share of rejections minus its share of acceptances.

    The disparity of each stratum is weighted by its rows. As in Clarify's library 0/0 is 0, and without any rejection or without
    any acceptance there is no value.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-data-bias-metric-cddl.html (CDDL),
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-cddpl.html (CDDPL)

    Example:
        The college of the page: women are 60 % of the rejected and 50 % of the accepted.

        >>> round(float(conditional_disparity(np.array([[[[40.0, 50.0], [60.0, 50.0]]]]))[0]), 2)
        0.1
    """
    by_outcome = table.sum(axis=2)
    shares = np.where(by_outcome > 0, table[:, :, 1] / np.maximum(by_outcome, 1), 0.0)
    disparity = shares[:, :, 0] - shares[:, :, 1]
    rows = by_outcome.sum(axis=2)
    total = rows.sum(axis=1)
    has_both = (by_outcome.sum(axis=1) > 0).all(axis=1) & (table.sum(axis=(1, 3)) > 0).all(axis=1)
    return np.where(has_both, (rows * disparity).sum(axis=1) / np.maximum(total, 1), np.nan)


def supports(table: Wide) -> dict[str, float]:
    """Return the smallest number of rows in a denominator of each metric."""
    labels, outcomes, sizes = table.sum(axis=2), table.sum(axis=1), table.sum(axis=(1, 2))
    negative, positive = labels[:, 0].min(), labels[:, 1].min()
    rejected, accepted = outcomes[:, 0].min(), outcomes[:, 1].min()
    size = sizes.min()
    found = dict.fromkeys(("CI", "DPL", "JS", "LP", "TVD", "KS", "AD"), size)
    # a logarithm or a ratio of shares needs rows of both kinds
    found |= {"KL": min(negative, positive), "CDDL": min(labels.sum(axis=0).min(), size), "GE": sizes.sum()}
    found |= {"DCA": accepted, "DAR": accepted, "DCR": rejected, "DRR": rejected, "RD": positive, "SD": negative}
    found["TE"] = table[:, 0, 1].min()
    return {name: float(value) for name, value in found.items()}


def supports_of_predictions(table: Wide) -> dict[str, float]:
    """Return the same as `supports` for metrics of predictions alone."""
    size, outcomes = table.sum(axis=1).min(), table.sum(axis=0).min()
    found = {"CI": size, "DPPL": size, "DI": min(size, table[0, 1]), "CDDPL": min(outcomes, size)}
    return {name: float(value) for name, value in found.items()}


def flip_test(features: Wide, disfavoured: Mask, positive: Mask) -> float | None:
    """Return Clarify's counterfactual flip test: the net share of rows of facet d whose prediction would differ in facet a.

    The counterfactual prediction is the majority of the five nearest neighbours in facet a by Euclidean distance (the nearest one
    if there are fewer than ten); ties are broken by row order.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-post-training-bias-metric-ft.html

    Args:
        features: Numeric features without the facet and the label, shape (rows, columns).
        disfavoured: Which rows belong to facet d.
        positive: Which rows are predicted positive.

    Returns:
        (favourable flips - unfavourable flips) / rows of facet d; None if a group is empty.

    Example:
        >>> rows = np.array([[0.0], [1.0], [0.1]])
        >>> flip_test(rows, np.array([False, False, True]), np.array([True, False, False]))
        1.0
    """
    others, own = features[~disfavoured], features[disfavoured]
    if not len(others) or not len(own):
        return None
    outcome = positive[~disfavoured]
    count = 5 if len(others) > 9 else 1
    flipped = 0
    for row, is_positive in zip(own, positive[disfavoured], strict=True):
        nearest = np.argsort(((others - row) ** 2).sum(axis=1), kind="stable")[:count]
        would_be = 2 * outcome[nearest].sum() > count
        flipped += int(would_be) - int(is_positive)
    return flipped / len(own)


def _sizes(table: Wide) -> tuple[Wide, Wide]:
    sizes = table.sum(axis=2)
    return sizes[:, 0], sizes[:, 1]


def _over(part: Wide, whole: Wide) -> Wide:
    """Return a ratio; 0/0 is 0, other divisions by 0 are infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.where(part > 0, np.inf, 0.0))


def _less(first: Wide, second: Wide) -> Wide:
    """Return a difference; infinity minus infinity is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(first) & np.isinf(second), 0.0, first - second)


def _divergence(first: Wide, second: Wide) -> Wide:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(first > 0, first * np.log(first / second), 0.0)
    total: Wide = terms.sum(axis=1)
    return total


def _entropy(rows: Wide, false_positive: Wide, false_negative: Wide) -> Wide:
    """Return GE: half the squared coefficient of variation of benefits, 2 of a false positive, 0 of a false negative, else 1."""
    total = rows + false_positive - false_negative
    squares = rows + 3 * false_positive - false_negative
    return np.where(total > 0, (rows * squares / np.maximum(total, 1) ** 2 - 1) / 2, np.nan)
