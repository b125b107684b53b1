"""Operations on monitor reports: a window with its states and features, and one feature's distribution and history."""

from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport, monitor_states
from mlops_runtime.monitor.monitors.drift import feature_words
from mlops_runtime.monitor.page import report_words
from mlops_runtime.monitor.page.drawings import CellRow, distribution
from mlops_runtime.monitor.page.report_words import feature_lines, report_lines
from mlops_runtime.monitor.report_message import short_flaw
from mlops_runtime.monitor.watched_endpoint import NEWEST, Watched, WatchedError

_HISTORY = 29  # windows before the requested one


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSummary:
    """State of one monitor, its meaning, and what to do. ``tone`` is ``good``, ``warn``, ``bad`` or ``unknown``."""

    monitor: str
    state: str
    tone: str
    means: str
    do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """One feature: ``summary`` is its verdict in a word, ``do`` the recommended action."""

    name: str
    summary: str
    tone: str
    drifted: bool
    do: str
    description: str | None
    psi: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPage:
    """A window: ``report`` is the output of `mlops monitor report --json`, ``lines`` that without ``--json``.

    ``features`` are sorted by evidence. ``live_since`` is when the live version started serving: earlier windows are of others.
    """

    now: datetime
    endpoint: str
    window_until: str
    verdict: str
    tone: str
    lines: tuple[str, ...]
    monitors: tuple[MonitorSummary, ...]
    features: tuple[FeatureRow, ...]
    report: MonitorReport
    live_since: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastWindow:
    """A feature in an earlier window."""

    window_until: str
    psi: float
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePage:
    """One feature of a window: its ``distribution`` with the baseline's, and its ``history``, oldest first.

    ``problem`` is why there is no distribution; empty if there is one.
    """

    now: datetime
    endpoint: str
    window_until: str
    feature: FeatureDrift
    lines: tuple[str, ...]
    distribution: tuple[CellRow, ...]
    history: tuple[PastWindow, ...]
    problem: str


def window(call: Call) -> DriftPage:
    """Return a window of an endpoint's monitor, the newest by default.

    Raises:
        RefusedRequestError: If no window has been decided yet, or no window matches.
    """
    found = _watched(call)
    report = _report(found, call)
    suppressed = report.suppressed is not None
    features = []
    for each in feature_words.ranked(report.drift.features):
        tone, word = feature_words.drift_word(each, suppressed=suppressed)
        features.append(
            FeatureRow(
                name=each.name,
                summary=word,
                tone=tone,
                drifted=each.drifted,
                do=feature_words.what_to_do(each),
                description=each.description,
                psi=each.psi,
                p_value=each.p_value,
            )
        )
    monitors = []
    for monitor, state in monitor_states(report).items():
        texts = report_words.monitor_text(report, monitor)
        monitors.append(
            MonitorSummary(monitor=monitor, state=state.value, tone=texts.tone, means=texts.means, do=texts.do)
        )
    return DriftPage(
        now=call.now,
        endpoint=report.endpoint,
        window_until=report.window_until,
        verdict=report_words.verdict(report),
        tone=report_words.tone(report),
        lines=tuple(report_lines(report)),
        monitors=tuple(monitors),
        features=tuple(features),
        report=report,
        live_since=found.live_since(),
    )


def feature(call: Call) -> FeaturePage:
    """Return one feature of a window, named by the query.

    Raises:
        RefusedRequestError: If the feature was not tested in the window.
    """
    found = _watched(call)
    report, name = _report(found, call), call.query.get("feature", "")
    own = next((each for each in report.drift.features if each.name == name), None)
    if own is None:
        reason = (report.drift.left_out or {}).get(name)
        names = ", ".join(sorted(each.name for each in report.drift.features)) or "none"
        detail = (
            f"{name} is counted but not tested: {reason}"
            if reason
            else f"feature {name!r} was not tested; tested features: {names}"
        )
        raise RefusedRequestError(404, detail)
    kept = found.archive.kept(report)
    past = [report, *found.archive.history(report, most=_HISTORY)]
    rows = () if kept.baseline is None or kept.counts is None else distribution(kept.baseline, kept.counts, name)
    return FeaturePage(
        now=call.now,
        endpoint=report.endpoint,
        window_until=report.window_until,
        feature=own,
        lines=tuple(feature_lines(report, own)),
        distribution=tuple(rows),
        history=tuple(
            PastWindow(window_until=each.window_until, psi=one.psi, drifted=one.drifted)
            for each in reversed(past)
            for one in each.drift.features
            if one.name == name
        ),
        problem="" if rows else short_flaw(kept.problem) or "its bins cannot be compared",
    )


def _watched(call: Call) -> Watched:
    entries = Entries(ssm=call.cloud.client("ssm"))
    entry = entries.endpoint(call.names["endpoint"])
    if entry.unit != call.names["unit"]:
        raise RefusedRequestError(
            404, f"endpoint {entry.endpoint} belongs to unit {entry.unit}, not {call.names['unit']}"
        )
    return Watched.of(call.cloud.client, endpoint=entry, unit=entries.unit(entry.unit), now=call.now, option="window")


def _report(found: Watched, call: Call) -> MonitorReport:
    try:
        return found.report(call.query.get("window", NEWEST))
    except WatchedError as error:
        raise RefusedRequestError(404, str(error)) from error
    except ContractError as error:
        raise RefusedRequestError(502, f"this version cannot read a file of the monitor: {error}") from error
