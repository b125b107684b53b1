"""Timeline of a report page: the states of each monitor over time and the changes. Coordinates only; the template draws."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from mlops_runtime.contracts.monitor_report import MonitorReport, monitor_states
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.monitor import wording
from mlops_runtime.monitor.page import report_words
from mlops_runtime.registry.package_approval import person_of

_ROLLOUT = "rollout"
_MODEL = ":model-package/"
# outcomes of records that are shown, in words; others do not affect monitors
_DONE = {
    Outcome.PROMOTED: "went live, requested",
    Outcome.ROLLED_BACK: "was rolled back, requested",
    Outcome.REJECTED: "was rejected, requested",
    Outcome.PAUSED: "automation was paused",
    Outcome.RESUMED: "automation was resumed",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A period in one state: start and width in percent of the axis, and a description."""

    start: float
    width: float
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The periods of a monitor or of rollouts; ``since`` describes a monitor's last period."""

    name: str
    stretches: tuple[Stretch, ...]
    since: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change: position in percent of the axis, and a description."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Course:
    """Lanes and changes of a timeline."""

    lanes: tuple[Lane, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """The part of a report's window that does not overlap with earlier windows."""

    start: datetime
    end: datetime
    report: MonitorReport


def course(reports: Sequence[MonitorReport], records: Sequence[AuditRecord] = ()) -> Course | None:
    """Return the timeline of reports; None with fewer than two.

    A monitor's lane has a period for each run of the same state; a window counts from the end of the previous one. Reports show
    changes of model, baseline and thresholds; audit records add rollbacks, rejections and pauses, with the requester. Periods in
    which a rollout suppressed drift have their own lane.

    Args:
        reports: Reports, oldest first.
        records: Audit records of the endpoint and of its unit, in any order. Default: only changes shown by reports.

    Example:
        >>> from mlops_runtime.contracts.monitor import MonitorState
        >>> from mlops_runtime.contracts.monitor_report import DriftResult
        >>> states = (MonitorState.OK, MonitorState.VIOLATION, MonitorState.VIOLATION)
        >>> days = [MonitorReport(endpoint="demand", variant="All", window_from=f"2017-08-0{n}T00:00:00Z",
        ...     window_until=f"2017-08-0{n + 1}T00:00:00Z", rows=9, baseline_sha256=None, model_package_arn=None,
        ...     drift=DriftResult(state=state)) for n, state in enumerate(states, 1)]
        >>> [lane] = course(days).lanes
        >>> [round(stretch.start) for stretch in lane.stretches], lane.since
        ([0, 33], 'violated since 2017-08-02 00:00')
    """
    if len(reports) < 2:
        return None
    pieces = list(_pieces(reports))
    first, last = pieces[0].start, pieces[-1].end
    names = dict.fromkeys(name for report in reports for name in monitor_states(report))
    lanes = [_lane(name, pieces) for name in names]
    rollouts = tuple(
        Stretch(
            _at(piece.start, first, last), _width(piece, first, last), "warn", wording.seconds(piece.report.suppressed)
        )
        for piece in pieces
        if piece.report.suppressed is not None
    )
    if rollouts:
        lanes.append(Lane(_ROLLOUT, rollouts))
    done = [(datetime.fromisoformat(record.at), record) for record in records if record.outcome in _DONE]
    known = {at for at, record in done if record.outcome is Outcome.PROMOTED}
    found = [*_changes(reports, known), *((at, _words(record)) for at, record in done)]
    changes = sorted((at, words) for at, words in found if first <= at <= last)
    return Course(tuple(lanes), tuple(Change(_at(at, first, last), words) for at, words in changes))


def _words(record: AuditRecord) -> str:
    model = "" if record.candidate_package is None else f"model {record.candidate_package.rpartition(_MODEL)[2]} "
    return f"{wording.moment(record.at)} {model}{_DONE[record.outcome]} by {person_of(record.requested_by)}"


def _pieces(reports: Sequence[MonitorReport]) -> Iterator[_Piece]:
    before: datetime | None = None
    for report in reports:
        start, end = (datetime.fromisoformat(text) for text in (report.window_from, report.window_until))
        yield _Piece(start if before is None else min(end, max(start, before)), end, report)
        before = end


def _lane(name: str, pieces: Sequence[_Piece]) -> Lane:
    first, last = pieces[0].start, pieces[-1].end
    runs: list[list[_Piece]] = []
    for piece in pieces:
        state = monitor_states(piece.report).get(name)
        if state is None:
            continue
        previous = runs[-1][-1] if runs else None
        continues = previous is not None and previous.end >= piece.start
        if continues and previous is not None and monitor_states(previous.report)[name] is state:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    stretches = []
    for run in runs:
        state = monitor_states(run[0].report)[name]
        text = report_words.state_text(name, state, flaw=run[0].report.baseline_flaw)
        begins = f"since {wording.moment(run[0].start.isoformat())}{' or before' if run[0].start == first else ''}"
        start, end = _at(run[0].start, first, last), _at(run[-1].end, first, last)
        stretches.append(Stretch(start, round(end - start, 2), text.tone, f"{text.word} {begins}"))
    return Lane(name, tuple(stretches), stretches[-1].words if stretches else "")


def _changes(reports: Sequence[MonitorReport], known: Collection[datetime]) -> Iterator[tuple[datetime, str]]:
    """Yield the changes that reports show, except promotions that audit records describe."""
    for before, now in pairwise(reports):
        end = datetime.fromisoformat(now.window_until)
        if now.live_since is not None and now.live_since != before.live_since:
            model = (now.model_package_arn or "").rpartition(_MODEL)[2]
            at = datetime.fromisoformat(now.live_since)
            if at not in known:
                yield at, f"{wording.moment(now.live_since)} model {model} went live"
        elif before.baseline_sha256 and now.baseline_sha256 and now.baseline_sha256 != before.baseline_sha256:
            yield end, f"{wording.moment(now.window_until)} another baseline of the same model"
        if now.spec != before.spec:
            yield end, f"{wording.moment(now.window_until)} other thresholds"


def _at(time: datetime, first: datetime, last: datetime) -> float:
    return round(100 * ((time - first) / (last - first)), 2)


def _width(piece: _Piece, first: datetime, last: datetime) -> float:
    return round(_at(piece.end, first, last) - _at(piece.start, first, last), 2)
