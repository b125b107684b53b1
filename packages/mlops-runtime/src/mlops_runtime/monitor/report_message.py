"""A report as one sentence, as an actionable message, and as a chat notification in one thread an endpoint."""

import re
from collections import Counter
from collections.abc import Sequence

from mlops_runtime.contracts.chat_notification import ChatNotification, NotificationContent, NotificationMetadata
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.monitors import staleness
from mlops_runtime.monitor.monitors.monitor_kind import LISTED, SILENT
from mlops_runtime.monitor.monitors.monitor_table import results

_NAMED = 3
_MANY = 0.01  # share of the rows and of the lines with problems
# zero-width space: keeps a chat from parsing a mention
_BREAK = "\u200b"


def problems(report: MonitorReport) -> list[tuple[str, int]]:
    """Return the problems of a report, most frequent first, without an unusable baseline: the verdict reports it."""
    found = Counter(report.problems or {})
    for _, result in results(report):
        found.update(result.problems or {})
    return sorted(((n, times) for n, times in found.items() if n != report.baseline_flaw), key=lambda i: (-i[1], i[0]))


def problem_place(report: MonitorReport, name: str) -> str:
    """Return the newest capture object with a problem and the first lines concerned; empty if no object has it.

    Example:
        >>> from mlops_runtime.contracts.monitor_report import DriftResult
        >>> report = MonitorReport(endpoint="demand", variant="AllTraffic", window_from="", window_until="", rows=0,
        ...     drift=DriftResult(), baseline_sha256=None, model_package_arn=None,
        ...     problem_objects={"line is not JSON": "capture/o.jsonl"}, problem_lines={"line is not JSON": (3, 9)})
        >>> problem_place(report, "line is not JSON")
        'capture/o.jsonl, lines 3, 9'
    """
    place, lines = (report.problem_objects or {}).get(name, ""), (report.problem_lines or {}).get(name, ())
    if not place or not lines:
        return place
    return f"{place}, {'line' if len(lines) == 1 else 'lines'} {', '.join(map(str, lines))}"


def problems_text(report: MonitorReport) -> str:
    """Return the three most frequent problems with their counts, and the number of other kinds.

    Returns:
        A sentence without its period; empty without problems.
    """
    found = problems(report)
    named = [f"{name} ({times:,})" for name, times in found[:_NAMED]]
    more = len(found) - _NAMED
    return "; ".join([*named, f"{more} more {'kind' if more == 1 else 'kinds'}"] if more > 0 else named)


def are_many(report: MonitorReport) -> bool:
    """Return whether the most frequent problem concerns more than 1 % of the rows."""
    found = problems(report)
    return bool(found) and found[0][1] > _MANY * (report.rows + found[0][1])


def short_flaw(flaw: str) -> str:
    """Return why a baseline cannot be used, without its URI and hashes.

    Example:
        >>> short_flaw("the baseline s3://artifacts/baseline.json was changed: it has SHA-256 1a, approved was 2b")
        'the baseline was changed'
    """
    return re.sub(r"^the baseline s3://\S+ ", "the baseline ", flaw).partition(":")[0]


def verdict(report: MonitorReport) -> str:
    """Return a report in one sentence.

    Example:
        >>> from mlops_runtime.contracts.monitor_report import DriftResult, QualityResult
        >>> report = MonitorReport(endpoint="demand-forecast", variant="AllTraffic", window_from="", window_until="", rows=0,
        ...     drift=DriftResult(state=MonitorState.NO_TRAFFIC), quality=QualityResult(state=MonitorState.NO_LABELS_YET),
        ...     baseline_sha256=None, model_package_arn=None)
        >>> verdict(report)
        'demand-forecast: no requests in this window; no labels yet'
    """
    if report.drift.state is MonitorState.NOT_YET_DEPLOYED:
        return f"{report.endpoint}: {SILENT[report.drift.state]}"
    if report.baseline_flaw is not None:
        return f"{report.endpoint}: nothing is decided, {report.baseline_flaw}"
    parts = [part for kind, result in results(report) for part in kind.sentence(result, report)]
    if report.suppressed is not None:
        parts.append(f"drift is not published, {report.suppressed}")
    return f"{report.endpoint}: {'; '.join(parts)}"


def message(report: MonitorReport, uri: str) -> str:
    """Return the text of the notification: findings, next steps and the report's URI."""
    lines = [
        report.verdict,
        "",
        f"Window: {report.window_from} to {report.window_until}, {report.rows:,} rows, {_labelled(report):,} labelled",
        f"Model: {report.model_package_arn or 'none'}",
        *_section("What happened:", _happened(report)),
        *_section("What to do:", steps(report)),
        *_section("Problems, and how often:", _problems(report)),
        "",
        f"Report: {uri}",
    ]
    return "\n".join(lines)


def _labelled(report: MonitorReport) -> int:
    return 0 if report.quality is None else report.quality.rows


def advice(report: MonitorReport) -> str:
    """Return the next steps in one line.

    Example:
        >>> from mlops_runtime.contracts.monitor_report import DriftResult, QualityResult
        >>> report = MonitorReport(endpoint="demand-forecast", variant="AllTraffic", window_from="", window_until="", rows=0,
        ...     drift=DriftResult(state=MonitorState.NO_TRAFFIC), quality=QualityResult(state=MonitorState.NO_LABELS_YET),
        ...     baseline_sha256=None, model_package_arn=None)
        >>> advice(report)
        'check with the callers whether this is expected'
    """
    return "; ".join(steps(report)) or "nothing"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"- {line}" for line in lines)] if lines else []


def _problems(report: MonitorReport) -> list[str]:
    reported = problems(report)
    newest = {name: place for name, _ in reported if (place := problem_place(report, name))}
    lines = [
        f"{name}: {times:,}{f', the newest in {newest[name]}' if name in newest else ''}"
        for name, times in reported[:LISTED]
    ]
    return [*lines, f"{len(reported) - LISTED} more kinds"] if len(reported) > LISTED else lines


def _happened(report: MonitorReport) -> list[str]:
    lines = [line for kind, result in results(report) for line in kind.happened(result, report)]
    return lines if report.baseline_flaw is None else [report.baseline_flaw, *lines]


def steps(report: MonitorReport) -> list[str]:
    """Return the next steps, one string each."""
    if report.baseline_flaw is not None:
        return [
            "find out who changed or removed it, and restore the approved version of the object; until then nothing is decided",
            "then redrive the dead-letter queue of the counting function",
        ]
    of_monitors = [line for kind, result in results(report) for line in kind.advice(result, report)]
    return [*of_monitors, *staleness.advice(report)]


def chat_notification(report: MonitorReport, uri: str) -> ChatNotification:
    """Return the notification of a report.

    Args:
        report: The report as published.
        uri: S3 URI of the report.

    Example:
        >>> from mlops_runtime.contracts.monitor_report import DriftResult
        >>> report = MonitorReport(endpoint="demand", variant="AllTraffic", window_from="2017-08-07T00:00:00Z",
        ...     window_until="2017-08-08T00:00:00Z", rows=5040, drift=DriftResult(), baseline_sha256=None, model_package_arn=None,
        ...     verdict="demand: drift in 2 of 3 windows: price")
        >>> found = chat_notification(report, "s3://bucket/report.json")
        >>> found.content.title, found.metadata.thread_id
        ('demand: MONITOR_NOT_RUN', 'demand')
    """
    plain_verdict = _plain(report.verdict)
    return ChatNotification(
        id=f"{report.endpoint}/{report.variant}/{report.window_until}",
        content=NotificationContent(
            title=f"{report.endpoint}: {report.state.value}",
            description=plain_verdict,
            next_steps=(*map(_plain, steps(report)), f"`mlops monitor report {report.endpoint}`"),
            keywords=(report.endpoint, report.state.value),
        ),
        metadata=NotificationMetadata(
            thread_id=report.endpoint,
            summary=plain_verdict,
            event_type="MLOps Monitor Reported",
            related_resources=(uri,),
            additional_context={"window": f"{report.window_from} to {report.window_until}", "rows": str(report.rows)},
        ),
    )


def _plain(text: str) -> str:
    """Escape links, mentions and commands of a chat: column names may contain any character.

    See: https://docs.slack.dev/messaging/formatting-message-text/#escaping

    Example:
        >>> _plain("price <!channel> & 5 > 3")
        'price &lt;!channel&gt; &amp; 5 &gt; 3'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("@", f"@{_BREAK}")
