"""Replay stored counts with other thresholds: the verdicts and alarms that they would have resulted in."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from mlops_runtime.contracts.monitor import TESTED, Baseline, Counts, MonitorState
from mlops_runtime.contracts.monitor_report import FeatureDrift
from mlops_runtime.monitor.counting.counts import empty, merge
from mlops_runtime.monitor.counting.problems import unreadable_rows
from mlops_runtime.monitor.monitors.drift.decision import decide, hours_to_add, misdated, unreadable
from mlops_runtime.monitor.monitors.drift.persistence import PastWindow, neighbours, persist
from mlops_runtime.monitor.monitors.drift.scrutiny import is_enough, scrutinise
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedWindow:
    """The replayed decision on one window.

    Args:
        window: Hours of the window, without those merged into it.
        hours_merged: Earlier hours that were added because of too few rows.
        rows: Rows, including merged ones.
        state: ``NOT_YET_DEPLOYED``, ``NO_TRAFFIC``, ``INSUFFICIENT_DATA``, ``OK`` or ``VIOLATION``.
        features: Verdicts; empty with too few rows.
        hours_before_live: Number of the window's hours that had ended when the model went live.
    """

    window: Window
    hours_merged: int
    rows: int
    state: MonitorState
    features: tuple[FeatureDrift, ...] = ()
    hours_before_live: int = 0


def replay(
    baseline: Baseline,
    hourly: Iterable[tuple[datetime, Counts]],
    spec: MonitorSpec,
    *,
    window_hours: int,
    every_hours: int,
    start: datetime,
    end: datetime,
    live_since: datetime | None = None,
) -> tuple[ReplayedWindow, ...]:
    """Return the windows between ``start`` and ``end``, each decided as it would have been at its end, oldest first.

    Persistence is determined among the replayed windows that do not overlap, so the first ones cannot be persistent.

    Args:
        baseline: Baseline of the counts.
        hourly: Counts by the UTC hour of their calls, in any order, several an hour; from ``merge_hours`` before ``start`` on.
        spec: The thresholds to try.
        window_hours: Length of a window in hours.
        every_hours: Hours between the ends of windows.
        start: Start of the first window, a full hour.
        end: Latest end of the last window.
        live_since: Time at which the model went live: a window without counts that ended before is ``NOT_YET_DEPLOYED``, and hours
            before it are not merged into later windows. Default: unknown.

    Raises:
        MergeError: If counts are of another baseline.
        ValueError: If there is no window, or the spec names features that the baseline does not have.

    Example:
        >>> from datetime import UTC
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(500, 500, 0))
        >>> baseline = Baseline(features=(price,), rows=1000, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> start = datetime(2017, 8, 7, tzinfo=UTC)
        >>> span = {"window_hours": 1, "every_hours": 1, "start": start, "end": start + HOUR}
        >>> replay(baseline, [], MonitorSpec(), **span)[0].state.value
        'NO_TRAFFIC'
    """
    if window_hours < 1 or every_hours < 1 or start + window_hours * HOUR > end:
        raise ValueError(
            f"a window of {window_hours} hours every {every_hours} must fit between {start.isoformat()} and {end.isoformat()}; "
            "use hours above 0 and a longer period"
        )
    by_hour: dict[datetime, list[Counts]] = defaultdict(list)
    for hour, counts in hourly:
        by_hour[hour].append(counts)
    nothing = empty(baseline)
    hours = {hour: merge(nothing, parts) for hour, parts in by_hour.items()}
    tape = _Tape(baseline, spec, hours, nothing, live_since)
    windows: list[ReplayedWindow] = []
    until = start + window_hours * HOUR
    while until <= end:
        windows.append(tape.decide(Window(until - window_hours * HOUR, until), windows))
        until += every_hours * HOUR
    return tuple(windows)


@dataclass(frozen=True, slots=True)
class _Tape:
    """Counts by hour, with their baseline, empty counts, and the time at which the model went live."""

    baseline: Baseline
    spec: MonitorSpec
    hours: dict[datetime, Counts]
    nothing: Counts
    live_since: datetime | None

    def decide(self, window: Window, earlier: list[ReplayedWindow]) -> ReplayedWindow:
        spec = self.spec
        counts = merge(self.nothing, self._between(window.start, window.end))
        before = (self._rows(window.start - (back + 1) * HOUR) for back in range(self._mergeable(window)))
        added = hours_to_add(counts.rows + unreadable_rows(counts), before, spec)
        first = window.start - added * HOUR
        counts = merge(counts, self._between(first, window.start))
        found = ReplayedWindow(
            window=window,
            hours_merged=added,
            rows=counts.rows,
            state=MonitorState.NO_TRAFFIC,
            hours_before_live=self._before_live(window),
        )
        sent = counts.rows + unreadable_rows(counts)
        if sent == 0:
            return (
                found if found.hours_before_live < window.hours else replace(found, state=MonitorState.NOT_YET_DEPLOYED)
            )
        if sent < spec.minimum_rows:
            return replace(found, state=MonitorState.INSUFFICIENT_DATA)
        past = (
            PastWindow(one.window.start - one.hours_merged * HOUR, one.window.end, one.features)
            for one in reversed(earlier)
            if one.state in TESTED
        )
        decided = decide(self.baseline, counts, spec)
        features = persist(decided, neighbours(past, start=first, end=window.end, spec=spec), spec)
        features += (*unreadable(counts, spec), *misdated(counts, spec))
        enough = is_enough(scrutinise(self.baseline, features), spec)
        state = MonitorState.OK if enough else MonitorState.INSUFFICIENT_DATA
        if any(one.persistent for one in features):
            state = MonitorState.VIOLATION
        return replace(found, state=state, features=features)

    def _before_live(self, window: Window) -> int:
        return 0 if self.live_since is None else min(window.hours, max(0, (self.live_since - window.start) // HOUR))

    def _mergeable(self, window: Window) -> int:
        """Return the number of hours that may be merged, none of them before the model went live."""
        # a model that was live twice has counts of its first period, before live_since: all its hours may be merged
        if self.live_since is None or window.end <= self.live_since:
            return self.spec.merge_hours
        since = -((self.live_since - window.start) // HOUR)
        return min(self.spec.merge_hours, max(0, since))

    def _rows(self, hour: datetime) -> int:
        return self.hours[hour].rows + unreadable_rows(self.hours[hour]) if hour in self.hours else 0

    def _between(self, start: datetime, end: datetime) -> list[Counts]:
        number = (end - start) // HOUR
        return [self.hours[hour] for i in range(number) if (hour := start + i * HOUR) in self.hours]
