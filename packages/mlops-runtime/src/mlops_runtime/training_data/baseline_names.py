"""Names of naive baselines, which define how each is computed. This module only needs the standard library.

``naive_median`` and ``naive_median_by_<key>`` predict the median label, the constant with the least absolute error;
``naive_mean`` and ``naive_mean_by_<key>`` the mean, ``naive_last_by_<key>`` the newest label, ``naive_usual`` and
``naive_usual_by_<key>`` the most frequent class.
"""

import re
from collections.abc import Sequence

PREFIX = "naive_"
_NAME = re.compile(r"naive_(?P<method>median|mean|last|usual)(?:_by_(?P<key>.+))?")


def baseline_names(key: str | None, *, has_classes: bool = False, is_chance: bool = False) -> tuple[str, ...]:
    """Return the names of the baselines that suit a label.

    Args:
        key: Column whose values have separate histories, such as a store. Default: the table has none.
        has_classes: Whether labels are names of classes.
        is_chance: Whether labels are 0 and 1, so that the newest label is not a probability.

    Example:
        >>> baseline_names("store"), baseline_names(None)
        (('naive_median_by_store', 'naive_last_by_store'), ('naive_median',))
    """
    usual = "usual" if has_classes else "mean" if is_chance else "median"
    if key is None:
        return (f"{PREFIX}{usual}",)
    last = () if has_classes or is_chance else (f"{PREFIX}last_by_{key}",)
    return (f"{PREFIX}{usual}_by_{key}", *last)


def baseline_problems(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the problems of baselines that are neither columns nor can be computed from the table.

    Example:
        >>> baseline_problems(["naive_mean_by_shop", "guess"], ["store", "units"])
        ["baseline 'naive_mean_by_shop' needs a column 'shop'", "baseline 'guess' is neither a column nor a computed one: \
naive_median, naive_mean and naive_usual, alone or with _by_<key>, or naive_last_by_<key>"]
    """
    problems = []
    for name in names:
        method = method_of(name)
        if method is None and name not in columns:
            problems.append(
                f"baseline {name!r} is neither a column nor a computed one: naive_median, naive_mean "
                "and naive_usual, alone or with _by_<key>, or naive_last_by_<key>"
            )
        elif method is not None and method[1] is not None and method[1] not in columns:
            problems.append(f"baseline {name!r} needs a column {method[1]!r}")
    return problems


def method_of(name: str) -> tuple[str, str | None] | None:
    """Return the method and key of a baseline; None for other names."""
    match = _NAME.fullmatch(name)
    if match is None or (match["method"] == "last" and match["key"] is None):
        return None
    return match["method"], match["key"]
