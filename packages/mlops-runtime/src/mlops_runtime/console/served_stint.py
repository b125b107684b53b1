"""Performance of a version during its last time in service, from audit records and its monitor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.contracts.rollout import AuditRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Stint:
    """A period in which a version served."""

    begun: AuditRecord | None  # the record that started it; `None` if it is older than the records read
    ended: AuditRecord | None  # the record that ended it; `None` if the version still serves

    def has(self, time: str) -> bool:
        """Return whether a time is in the period: after its start, and not after its end."""
        found = datetime.fromisoformat(time)
        is_after = self.begun is None or datetime.fromisoformat(self.begun.at) < found
        return is_after and (self.ended is None or found <= datetime.fromisoformat(self.ended.at))

    def sentences(self, monitored: str | None) -> tuple[str, ...]:
        """Describe the performance of the version in sentences.

        Args:
            monitored: Verdict of the last monitor window that ended in the period; ``None`` without one.
        """
        begun, ended = self.begun, self.ended
        since = "It served since before the newest records" if begun is None else f"It served from {_time(begun.at)}"
        until = "" if ended is None else f" until {_time(ended.at)}, record {ended.sequence}: {ended.outcome.value}"
        if begun is not None and begun.verdict is not None:
            rollout = f"Its rollout: {begun.verdict.sentence}"
        else:
            rollout = "The newest records have no verdict of its rollout."
        monitor = "No monitor window ended in this time." if monitored is None else f"Last monitor report: {monitored}"
        return f"{since}{until}.", rollout, monitor


def stint_of(package: str | None, records: Sequence[AuditRecord]) -> Stint | None:
    """Return the last period in which a package served; ``None`` if the package served according to none of the records.

    Args:
        package: ARN of the package.
        records: Records of the endpoint's chain, oldest first.
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
