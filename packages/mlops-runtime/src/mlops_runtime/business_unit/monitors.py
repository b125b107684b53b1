"""What an endpoint's monitor last found, in as many words as a status has room for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.monitor import monitor_states
from mlops_runtime.monitor.archive import Archive

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOT_READABLE = ("AccessDenied", "NoSuchBucket")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorOverview:
    """The newest report of a monitor.

    Args:
        window_until: When its window ended; empty where it was not read.
        states: The state of each monitor.
        engine: What counted; None where the report does not say.
        analyzer: What ran in place of AWS's image of Model Monitor; None where that ran, or another engine counted.
        verdict: The report in a sentence.
        suppressed: Why nothing was published as drift; None where it was.
        unread: Why the report could not be read; empty where it was.
    """

    window_until: str = ""
    states: Mapping[str, str]
    engine: str | None = None
    analyzer: str | None = None
    verdict: str | None = None
    suppressed: str | None = None
    unread: str = ""


def newest_verdict(s3: "S3Client", *, endpoint: str, artifacts: str, now: datetime) -> MonitorOverview | None:
    """Return what the newest report says.

    Args:
        s3: Client.
        endpoint: Name of the endpoint.
        artifacts: The unit's bucket of artifacts.
        now: The time in the cloud.

    Returns:
        None where there is no report: nothing watches the endpoint, or has decided yet.
    """
    try:
        found = Archive(s3, endpoint=endpoint, artifacts=artifacts).newest(now)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in _NOT_READABLE:
            raise
        return None if code == "NoSuchBucket" else MonitorOverview(states={}, unread=code)
    except ContractError as error:
        return MonitorOverview(states={}, unread=str(error))
    if not found:
        return None
    report = found[0]
    return MonitorOverview(
        window_until=report.window_until,
        states={monitor: state.value for monitor, state in monitor_states(report).items()},
        engine=report.engine,
        analyzer=report.analyzer,
        verdict=report.verdict,
        suppressed=report.suppressed,
    )
