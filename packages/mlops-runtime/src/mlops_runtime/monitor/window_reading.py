"""Gather the evidence of a window: live version, baseline, counts, labels, calls and latency."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import ContractError, content_hash, from_json
from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.contracts.monitor_report import MonitorResult
from mlops_runtime.contracts.rollout import LivePointer, LockRow, TakenBack, is_among, taken_back
from mlops_runtime.monitor.call_metrics import Calls, calls_of, latency_of, sources
from mlops_runtime.monitor.cloudwatch_metrics import Monitor
from mlops_runtime.monitor.counting.capture_lines import is_since
from mlops_runtime.monitor.counting.counts import empty, merge
from mlops_runtime.monitor.counting.problems import MAXIMUM, bounded, invalid_values, unreadable_rows
from mlops_runtime.monitor.monitors.drift.decision import hours_to_add
from mlops_runtime.monitor.monitors.label_join import Timed, captured_facets, join_window
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import BaselineIntegrityError, MonitorStore
from mlops_runtime.monitor.stored_reports import PastRuns
from mlops_runtime.monitor.window import HOUR, Inventory, Window, late_objects, stamp
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_log = logging.getLogger("mlops.monitor")

UNCOUNTED = "capture object is not counted"
ANOTHER_BASELINE = "counts of a capture object are of another baseline"
UNREADABLE = "counts of a capture object cannot be read"
LATE = "capture object came after its window was decided"
ROLLED_BACK = "capture object has calls of a rollout that was rolled back"
_NO_LINES: Mapping[str, tuple[int, ...]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The monitored endpoint and its data sources."""

    endpoint: str
    variant: str
    store: MonitorStore  # the endpoint's objects
    cloudwatch: "CloudWatchClient"
    traffic: Mapping[str, Any] | None  # metrics of calls and latency; None for SageMaker's
    period_hours: int  # hours between runs: missing traffic is detected in this many of the window's newest hours


def gather(
    window: Window,
    *,
    row: LockRow,
    spec: MonitorSpec,
    place: Place,
    now: datetime,
    measured: Mapping[Monitor, MonitorResult],
) -> Evidence:
    """Return the evidence of a window.

    A window with too few rows is merged with the hours before it, newest first, up to ``merge_hours``. The counts exclude calls of
    an earlier model, and objects with calls during a rollout that was rolled back.

    Args:
        row: The endpoint's row: live version and lock owner.
        spec: Thresholds.
        place: The endpoint and its data sources.
        now: Time of the run.
        measured: Results from elsewhere, by monitor.
    """
    if row.live is None:
        return Evidence()
    live = from_json(LivePointer, row.live)
    since = datetime.fromisoformat(live.since)
    source, latency_source = sources(place.endpoint, place.variant, place.traffic)
    calls = calls_of(place.cloudwatch, source, window.newest(place.period_hours), since=since)
    baseline, flaw = None, None
    try:
        baseline = place.store.read_baseline(live.baseline_uri, live.baseline_sha256)
    except BaselineIntegrityError as error:
        flaw = str(error)
    reading = window.extended(spec.label_delay_hours)
    uploaded = [] if baseline is None else place.store.label_hours(reading)
    is_joined = bool(uploaded) or (baseline is not None and bool(captured_facets(baseline)))
    # one listing: of the window, preceded by the label delay if labels or facets are joined
    listed = place.store.capture_keys(place.variant, reading if is_joined else window)
    hours = {key: hour for key in listed if (hour := place.store.capture_hour(place.variant, key))}
    captured = {key: hour for key, hour in hours.items() if window.holds(hour)}
    evidence = Evidence(
        live=live,
        measured=measured,
        latency_hours=None if latency_source is None else latency_of(place.cloudwatch, latency_source, window),
        suppressed=suppressed(row, now),
        newest_call=calls.newest,
        newest_capture=max(captured.values(), default=None),
        flaw=flaw,
    )
    if baseline is None:
        return evidence
    longest = max(window.hours + spec.merge_hours, place.period_hours)
    past = place.store.past_runs(window.end, since=window.start - 2 * spec.of_windows * longest * HOUR)
    aside = taken_back(row)
    evidence = _count(
        evidence,
        window,
        place,
        captured=captured,
        past=past,
        calls=calls,
        live=live,
        baseline=baseline,
        spec=spec,
        aside=aside,
    )
    matured = window.due(spec.label_delay_hours, place.period_hours)
    labels = join_window(
        (Timed(hour, line, written) for hour, written, key in uploaded for line in place.store.object_lines(key)),
        (line for key in listed for line in place.store.object_lines(key)),
        since=live.since,
        window_from=stamp(window.start),
        now=window.end,
        baseline=baseline,
        label_delay_hours=spec.label_delay_hours,
        aside=aside,
        announced=place.store.announced(),
        matured=(stamp(matured.start), stamp(matured.end)),
    )
    newest_label = max((hour for hour, _, _ in uploaded), default=None)
    if newest_label is None and not place.store.has_labels():
        # without any label, lateness counts from the start of the live model
        newest_label = since
    problems = Counter(evidence.problems)
    if not evidence.objects:  # an external engine counted: only the join reports unreadable lines
        problems["line of captures cannot be read"] += labels.malformed - labels.malformed_labels
    return replace(
        evidence,
        baseline=baseline,
        labels=labels,
        newest_label=newest_label,
        matured=matured,
        matured_report=None if matured == window else past.report_of(matured.end),
        earlier=past.reports,
        problems={name: times for name, times in problems.items() if times},
    )


def suppressed(row: LockRow, now: datetime) -> str | None:
    """Return why drift must not be published: a running rollout, whose canary's calls are captured with the others.

    After a promotion nothing is suppressed, since only calls from then on count; nor after a rollback, since the hours of the
    rollout are excluded.
    """
    if row.owner is not None and (row.lock_until is None or row.lock_until > now.timestamp()):
        return f"a rollout is running: {row.owner.rpartition(':')[2]}"
    return None


def taken_back_among(row: LockRow, window: Window) -> str | None:
    """Return why an engine that cannot exclude hours must not publish drift: a rollout in the window was rolled back."""
    first, last = stamp(window.start), stamp(window.end)
    ended = [each.until for each in taken_back(row) if is_among(first, last, [each])]
    return f"a rollout was rolled back at {ended[-1]}: the window includes calls of its model" if ended else None


@dataclass(slots=True)
class _Reader:
    """Reads counts against the live model's baseline, tallying excluded objects and the traffic of the newest hours."""

    store: MonitorStore
    baseline: Baseline
    digest: str
    since: str
    recent: Window
    aside: Sequence[TakenBack] = ()
    another: int = 0
    taken_back: int = 0
    unreadable: int = 0
    counted: int = 0
    rows: int = 0
    malformed: int = 0
    synthetic: int = 0
    calls: int = 0
    newest: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)

    def read(self, objects: Sequence[tuple[datetime, Sequence[str]]]) -> Iterator[Counts]:
        parts = self.store.counts_against(self.digest, [keys for _, keys in objects])
        for (hour, keys), part in zip(objects, parts, strict=True):
            is_recent = self.recent.holds(hour)
            self.counted += is_recent
            if isinstance(part, ContractError):
                _log.error("counts cannot be read: %s", part)
                self.unreadable += 1
                self._found([UNREADABLE], keys)
                self.counted -= is_recent
                continue
            if part.baseline_sha256 != self.digest:
                # counts that ended before the model was live rightly belong to the previous model
                if is_since(part.last, self.since):
                    self.another += 1
                    self._found([ANOTHER_BASELINE], keys)
                continue
            if is_recent:
                self.rows += part.rows
                self.calls += part.calls
                self.malformed += part.malformed
                self.synthetic += part.synthetic or 0
            if is_among(part.first, part.last, self.aside):
                self.taken_back += 1
                self._found([ROLLED_BACK], keys)
                continue
            found = [*(part.problems or ()), *invalid_values(self.baseline, part)]
            self._found(found, keys, part.problem_lines or {})
            yield part

    def _found(
        self, problems: Iterable[str], keys: Sequence[str], lines: Mapping[str, tuple[int, ...]] = _NO_LINES
    ) -> None:
        """Record the newest object of each problem, with its lines; keys of one variant sort by hour."""
        key = self.store.capture_key(keys[0])
        for problem in problems:
            self.newest[problem] = max(self.newest.get(problem, ("", ())), (key, lines.get(problem, ())))
        if len(self.newest) > 10 * MAXIMUM:
            self.newest = {
                name: self.newest[name] for name in bounded(dict.fromkeys(self.newest, 1)) if name in self.newest
            }


def _count(
    evidence: Evidence,
    window: Window,
    place: Place,
    *,
    captured: Mapping[str, datetime],
    past: PastRuns,
    calls: Calls,
    live: LivePointer,
    baseline: Baseline,
    spec: MonitorSpec,
    aside: Sequence[TakenBack],
) -> Evidence:
    """Return the evidence with the counts of the window, its traffic and the problems found while reading them."""
    store, recent = place.store, window.newest(place.period_hours)
    looked_at = window.extended(spec.merge_hours)
    by_hour = store.counts_by_hour(place.variant, looked_at)
    reader = _Reader(store, baseline, content_hash(baseline), live.since, recent, aside)
    own = [(hour, objects) for hour, objects in by_hour.items() if window.holds(hour)]
    counts = merge(empty(baseline), reader.read([(hour, keys) for hour, objects in own for keys in objects.values()]))
    problems = Counter(counts.problems or {})
    counts, merged = _merge_back(counts, window, by_hour, reader, spec=spec, live=live, baseline=baseline)
    counted = {key for _, objects in own for key in objects}
    uncounted = [key for key in captured if (target := store.counts_key(key)) and target not in counted]
    uncounted_newest = [key for key in uncounted if recent.holds(captured[key])]
    newest = sum(len(objects) for hour, objects in own if recent.holds(hour))
    objects = {stamp(hour): len(of_hour) for hour, of_hour in by_hour.items()}
    late = late_objects(past.inventory(), _inventory(objects, looked_at))
    problems += Counter(
        {
            UNCOUNTED: len(uncounted),
            ANOTHER_BASELINE: reader.another,
            UNREADABLE: reader.unreadable,
            LATE: late,
            ROLLED_BACK: reader.taken_back,
        }
    )
    reasons = {*problems, *invalid_values(baseline, counts)}
    found = {name: each for name, each in reader.newest.items() if name in reasons}
    if uncounted:
        found[UNCOUNTED] = max(uncounted), ()
    return replace(
        evidence,
        rows=counts.rows,
        counts=counts,
        traffic=Traffic(
            invocations=calls.count,
            counted=reader.counted,
            uncounted=len(uncounted_newest) + newest - reader.counted,
            rows=reader.rows,
            calls=reader.calls,
            announced=store.announced_calls(recent),
            malformed=reader.malformed,
            synthetic=reader.synthetic,
        ),
        hours_merged=merged,
        problems=problems,
        objects=objects,
        problem_objects={problem: key for problem, (key, _) in found.items()},
        problem_lines={problem: lines for problem, (_, lines) in found.items() if lines},
    )


def _merge_back(
    counts: Counts,
    window: Window,
    by_hour: Mapping[datetime, Mapping[str, Sequence[str]]],
    reader: _Reader,
    *,
    spec: MonitorSpec,
    live: LivePointer,
    baseline: Baseline,
) -> tuple[Counts, int]:
    """Add earlier hours to a window with too few rows, and return the number of hours added."""
    read: list[Counts] = []

    def before() -> Iterator[int]:
        oldest, hour = datetime.fromisoformat(live.since) - HOUR, window.start - HOUR
        while hour > oldest:
            read.append(merge(empty(baseline), reader.read([(hour, keys) for keys in by_hour.get(hour, {}).values()])))
            yield read[-1].rows + unreadable_rows(read[-1])
            hour -= HOUR

    added = hours_to_add(counts.rows + unreadable_rows(counts), before(), spec)
    return merge(counts, read[:added]), added


def inventory(evidence: Evidence, window: Window, spec: MonitorSpec) -> Inventory:
    """Return the inventory of counted objects that a run saw, from which the next run detects late ones."""
    return _inventory(evidence.objects, window.extended(spec.merge_hours))


def _inventory(objects: Mapping[str, int], looked_at: Window) -> Inventory:
    return Inventory(since=stamp(looked_at.start), until=stamp(looked_at.end), hours=objects)
