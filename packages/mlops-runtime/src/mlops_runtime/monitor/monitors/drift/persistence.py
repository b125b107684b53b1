"""Persistence of drift: a feature's drift is confirmed if it drifted in enough recent windows that do not overlap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlops_runtime.contracts.monitor import TESTED, MonitorState
from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport
from mlops_runtime.monitor.spec import MonitorSpec

# look-back as a multiple of ``of_windows`` window lengths: daily windows bridge a weekend, hourly ones not a night
_REACH = 2


@dataclass(frozen=True, slots=True)
class PastWindow:
    """An earlier window."""

    start: datetime  # start of the window, including hours merged into it if drift was decided
    end: datetime  # end of the window
    features: Sequence[FeatureDrift] | None  # verdicts on features; None if the window had too few rows


def past_windows(
    reports: Iterable[MonitorReport], *, baseline_sha256: str, model_package_arn: str | None
) -> Iterable[PastWindow]:
    """Yield the windows of earlier reports of this model and baseline whose drift was not suppressed."""
    for report in reports:
        is_of_this = report.baseline_sha256 == baseline_sha256 and report.model_package_arn == model_package_arn
        if not is_of_this or report.suppressed is not None:
            continue
        start, end = (datetime.fromisoformat(at) for at in (report.window_from, report.window_until))
        if report.drift.state in TESTED:
            yield PastWindow(start - timedelta(hours=report.hours_merged), end, report.drift.features)
        elif report.drift.state is MonitorState.INSUFFICIENT_DATA:
            yield PastWindow(start, end, None)


def neighbours(earlier: Iterable[PastWindow], *, start: datetime, end: datetime, spec: MonitorSpec) -> list[PastWindow]:
    """Return up to ``of_windows - 1`` of the newest windows before one that do not overlap with later ones and are near.

    Near windows ended at most twice ``of_windows`` window lengths before its start; drift in windows farther back does not confirm
    drift now. Windows with too few rows neither agree nor disagree: they are returned in addition to the ``of_windows - 1`` that
    were decided.

    Args:
        earlier: Windows, newest first.
        start: Start of the window, including hours merged into it.
        end: End of the window.
        spec: ``of_windows``.

    Example:
        >>> from datetime import UTC
        >>> monday = datetime(2017, 8, 7, tzinfo=UTC)
        >>> days = [PastWindow(monday - timedelta(days=back), monday - timedelta(days=back - 1), ()) for back in (3, 8)]
        >>> len(neighbours(days, start=monday, end=monday + timedelta(days=1), spec=MonitorSpec()))
        1
    """
    found: list[PastWindow] = []
    between: list[PastWindow] = []
    left, free = spec.of_windows - 1, start
    oldest = start - _REACH * spec.of_windows * (end - start)
    for window in earlier:
        if left == 0 or window.end < oldest:
            break
        if window.features is None and window.end <= free:
            between.append(window)
            free = window.start
        elif window.features is not None and window.end <= start:
            found += [*(one for one in between if one.start >= window.end), window]
            between, left = [], left - 1
            start = free = window.start
    return found + between


def persist(
    features: Sequence[FeatureDrift], windows: Sequence[PastWindow], spec: MonitorSpec
) -> tuple[FeatureDrift, ...]:
    """Return the features with ``persistent`` and ``agreed_with``, the ends of earlier windows in which they drifted too.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html (M out of N data points).

    Args:
        features: Verdicts of a window.
        windows: The window's neighbours; those with too few rows do not count.
        spec: ``alarm_windows`` and ``of_windows``.

    Example:
        >>> price = FeatureDrift(name="price", psi=0.2, p_value=1e-9, drifted=True)
        >>> persist([price], [], MonitorSpec())[0].persistent
        False
        >>> persist([price], [], MonitorSpec(alarm_windows=1))[0].persistent
        True
    """
    found = []
    decided = [(window, window.features) for window in windows if window.features is not None]
    for feature in features:
        agreeing = [window for window, verdicts in decided if feature.drifted and _drifted(feature.name, verdicts)]
        found.append(
            replace(
                feature,
                persistent=is_persistent(feature, [verdicts for _, verdicts in decided], spec),
                agreed_with=_ends(agreeing),
            )
        )
    return tuple(found)


def too_few_rows(windows: Iterable[PastWindow]) -> tuple[str, ...] | None:
    """Return the ends of the neighbours with too few rows; None if all were decided."""
    return _ends([window for window in windows if window.features is None])


def is_persistent(feature: FeatureDrift, earlier: Iterable[Sequence[FeatureDrift]], spec: MonitorSpec) -> bool:
    """Return whether a feature drifted in this window and in enough earlier ones.

    Args:
        feature: This window's verdict on the feature.
        earlier: Verdicts of each earlier window that counts, at most ``of_windows - 1``.
        spec: See `confirming`.
    """
    if not feature.drifted:
        return False
    return sum(_drifted(feature.name, window) for window in earlier) + 1 >= confirming(feature, spec)


def confirming(feature: FeatureDrift, spec: MonitorSpec) -> int:
    """Return the number of the last ``of_windows`` windows in which a feature must drift before it alarms.

    It is ``alarm_windows``, or all of them with fewer than 20 clusters in the baseline.

    Example:
        >>> price = FeatureDrift(name="price", psi=0.2, p_value=1e-9, drifted=True)
        >>> confirming(price, MonitorSpec()), confirming(replace(price, few_clusters=18), MonitorSpec())
        (2, 3)
    """
    return spec.alarm_windows if feature.few_clusters is None else spec.of_windows


def _ends(windows: Iterable[PastWindow]) -> tuple[str, ...] | None:
    return tuple(f"{window.end:%Y-%m-%dT%H:%M:%SZ}" for window in windows) or None


def _drifted(name: str, features: Iterable[FeatureDrift]) -> bool:
    return any(one.name == name and one.drifted for one in features)
