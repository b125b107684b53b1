"""How urgent an alarm is."""

from enum import StrEnum


class Severity(StrEnum):
    """How urgent an alarm is: whom it tells.

    ``WARNING`` is something to look at in working hours: one window drifted, labels are late. ``CRITICAL`` is something that a
    person on call acts on: drift that persists, quality, bias or latency beyond their limits, a baseline that was tampered with,
    or silence.
    """

    WARNING = "warning"
    CRITICAL = "critical"
