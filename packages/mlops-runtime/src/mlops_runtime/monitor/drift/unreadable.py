"""The rule on rows that cannot be read: a feed that lost a column is told, instead of being left out of every comparison.

Other callers send what a window cannot be blamed for, so that some such rows are only named among the problems.
"""

from mlops_runtime.contracts.monitor import Counts, FeatureDrift
from mlops_runtime.monitor.counting.problems import ROWS_OTHER, is_unreadable, sentence, unreadable_rows
from mlops_runtime.monitor.drift.tails import binomial_tail
from mlops_runtime.monitor.drift.wording import percent
from mlops_runtime.monitor.spec import MonitorSpec

NAME = "unreadable_rows"
RULE = "unreadable"
MAXIMUM_SHARE = 0.05


def unreadable(counts: Counts, spec: MonitorSpec) -> tuple[FeatureDrift, ...]:
    """Return the finding that more than 5 % of a window's rows cannot be read; nothing where it is not so.

    An exact binomial test of the share at ``significance``. It counts in one window alone: what has no row to compare drifts in
    none of the next either.

    Args:
        counts: The window's.
        spec: ``significance`` and ``minimum_rows``, read or not.

    Example:
        >>> window = Counts(baseline_sha256="b", rows=300, calls=300, features=(), first="", last="", malformed=9700,
        ...     problems={"row_width[3,4]": 9700})
        >>> unreadable(window, MonitorSpec())[0].description
        '97 % of 10,000 rows cannot be read, most often: row has 3 values instead of 4'
    """
    broken = unreadable_rows(counts)
    rows = counts.rows + broken
    if rows < spec.minimum_rows or broken <= MAXIMUM_SHARE * rows:
        return ()
    p_value = binomial_tail(broken, rows, MAXIMUM_SHARE)
    if p_value > spec.significance:
        return ()
    problems = counts.problems or {}
    kinds = {name: times for name, times in problems.items() if is_unreadable(name) and name != ROWS_OTHER()}
    most = f", most often: {sentence(max(kinds, key=lambda name: kinds[name]))}" if kinds else ""
    said = f"{percent(broken / rows)} of {rows:,} rows cannot be read{most}"
    return (
        FeatureDrift(name=NAME, psi=0.0, p_value=p_value, drifted=True, persistent=True, rule=RULE, description=said),
    )
