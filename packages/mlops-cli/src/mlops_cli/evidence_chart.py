"""Text chart of a rollout verdict: responses of both fleets per minute, and the evidence against the new fleet."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_runtime.rollout.fleet_comparison import Evidence, Minute
from mlops_runtime.rollout.live_history import Counts, total

if TYPE_CHECKING:
    from mlops_runtime.rollout.verdict import Compared

_ROWS = 60  # of a chart; longer rollouts have several minutes per row
_BAR = 40
_LEAST_BAR = 8
_COLUMNS = 69  # of the rest of a line
_FULL, _LIMIT = "█", "│"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Consecutive minutes: their numbers, the responses in them, and the evidence after the last one."""

    first: int
    last: int
    new: Counts
    old: Counts
    evidence: Evidence

    @property
    def minutes(self) -> str:
        """Label of the row, such as ``3`` or ``3-7``."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def rows(minutes: Sequence[Minute], evidence: Sequence[Evidence]) -> list[Row]:
    """Return at most 60 rows of a chart: consecutive minutes without a call are merged, then groups of equal size.

    Args:
        minutes: Oldest first.
        evidence: Evidence after each minute.
    """
    joined: list[tuple[int, int]] = []
    for number, minute in enumerate(minutes, 1):
        is_empty = not minute.new.calls and not minute.old.calls
        if is_empty and joined and not _calls(minutes[joined[-1][0] - 1 : joined[-1][1]]):
            joined[-1] = (joined[-1][0], number)
        else:
            joined.append((number, number))
    each = -(-len(joined) // _ROWS) or 1
    groups = [joined[start : start + each] for start in range(0, len(joined), each)]
    return [_row(group[0][0], group[-1][1], minutes, evidence) for group in groups]


def _calls(minutes: Sequence[Minute]) -> int:
    return sum(minute.new.calls + minute.old.calls for minute in minutes)


def _row(first: int, last: int, minutes: Sequence[Minute], evidence: Sequence[Evidence]) -> Row:
    part = minutes[first - 1 : last]
    new, old = total([minute.new for minute in part]), total([minute.old for minute in part])
    return Row(first=first, last=last, new=new, old=old, evidence=evidence[last - 1])


def chart(compared: "Compared", evidence: Sequence[Evidence], width: int) -> Iterator[str]:
    """Yield the lines of one comparison.

    Args:
        compared: The comparison of the fleets.
        evidence: Evidence after each minute.
        width: Columns of the terminal.
    """
    limit = 1 / compared.rule.false_alarm
    length = max(_LEAST_BAR, min(_BAR, width - _COLUMNS))
    did = "failed" if compared.did == "failed" else "slow"
    yield f"answers that {compared.did}; evidence of {limit:g} against the new fleet stops it"
    yield f"{'':8}{'new fleet':>15}{'live model':>16}"
    yield f"{'minute':<8}{'answers':>8}{did:>7}{'answers':>9}{did:>7}{'evidence':>10}"
    for row in rows(compared.minutes, evidence):
        line = (
            f"{row.minutes:<8}{row.new.calls:>8,}{row.new.failed:>7,}{row.old.calls:>9,}{row.old.failed:>7,}"
            f"{_number(row.evidence.against):>10} {_bar(row.evidence.against, limit, length)}"
        )
        yield (line + _marks(row, compared, evidence)).rstrip()


def _number(value: float) -> str:
    """Return evidence with three significant digits, very large or small values in scientific notation."""
    return f"{value:.3g}" if 0.001 <= value < 100_000 else f"{value:.0e}"


def _bar(value: float, limit: float, length: int) -> str:
    """Return a bar on a logarithmic scale: empty at 1 and below, full at the limit."""
    share = 0.0 if value <= 1 else min(1.0, math.log(value) / math.log(limit))
    return f"{_FULL * int(share * length)}".ljust(length) + _LIMIT


def _marks(row: Row, compared: "Compared", evidence: Sequence[Evidence]) -> str:
    found = []
    stopped, good = evidence[-1].stopped_at, evidence[-1].good_at
    if stopped and row.first <= stopped <= row.last:
        found.append("stopped")
    if good and row.first <= good <= row.last:
        found.append("shown good")
    if compared.alone_from is not None and row.first <= compared.alone_from <= row.last:
        found.append("alone")
    return f" {', '.join(found)}" if found else ""
