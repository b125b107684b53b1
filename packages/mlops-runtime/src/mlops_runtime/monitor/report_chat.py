"""A report as a chat notification: verdict and next steps, in one thread an endpoint."""

from mlops_runtime.contracts.chat_notification import ChatNotification, NotificationContent, NotificationMetadata
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.report_message import steps

# zero-width space: keeps a chat from parsing a mention
_BREAK = "\u200b"


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
    said = _plain(report.verdict)
    return ChatNotification(
        id=f"{report.endpoint}/{report.variant}/{report.window_until}",
        content=NotificationContent(
            title=f"{report.endpoint}: {report.state.value}",
            description=said,
            next_steps=(*map(_plain, steps(report)), f"`mlops monitor report {report.endpoint}`"),
            keywords=(report.endpoint, report.state.value),
        ),
        metadata=NotificationMetadata(
            thread_id=report.endpoint,
            summary=said,
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
