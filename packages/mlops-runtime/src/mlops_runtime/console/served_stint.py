"""How a version did while it served last, by the audit records and by its monitor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.contracts.rollout import AuditRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Stint:
    """A time in which a version served.

    Args:
        begun: The record that began it; None where it is older than the records that were read.
        ended: The record that ended it; None where it still serves.
    """

    begun: AuditRecord | None
    ended: AuditRecord | None

    def has(self, time: str) -> bool:
        """Return whether a time is after its beginning, and not after its end."""
        found = datetime.fromisoformat(time)
        is_after = self.begun is None or datetime.fromisoformat(self.begun.at) < found
        return is_after and (self.ended is None or found <= datetime.fromisoformat(self.ended.at))

    def says(self, monitored: str | None) -> tuple[str, ...]:
        """Return how the version did, in sentences; what is not known is said as such.

        Args:
            monitored: Verdict of the last window that ended meanwhile; None where none did, or it has none.
        """
        begun, ended = self.begun, self.ended
        since = "It served from before the newest records" if begun is None else f"It served from {_time(begun.at)}"
        until = "" if ended is None else f" until {_time(ended.at)}, record {ended.sequence}: {ended.outcome.value}"
        if begun is not None and begun.verdict is not None:
            rollout = f"Its rollout: {begun.verdict.sentence}"
        else:
            rollout = "No verdict of its rollout is among the newest records."
        monitor = (
            "No window of its monitor ended meanwhile." if monitored is None else f"Its monitor found last: {monitored}"
        )
        return f"{since}{until}.", rollout, monitor


def stint_of(package: str | None, records: Sequence[AuditRecord]) -> Stint | None:
    """Return the newest time in which a package served.

    Args:
        package: ARN of the package.
        records: Of the endpoint's chain, oldest first.

    Returns:
        None where no record says that it served.
    """
    served = [number for number, each in enumerate(records) if package is not None and each.serving_package == package]
    if not served:
        return None
    last = served[-1]
    first = last
    while first > 0 and records[first - 1].serving_package == package:
        first -= 1
    is_whole = first > 0 or records[0].sequence == 1
    return Stint(
        begun=records[first] if is_whole else None, ended=records[last + 1] if last + 1 < len(records) else None
    )


def _time(at: str) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M} UTC"
