"""Calls out of capture lines, with what is left out and what went wrong, so that every line is told."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mlops_runtime.monitor.counting.announced import IsAnnounced, nobody
from mlops_runtime.monitor.counting.capture import Call, CaptureError, is_since, read_call
from mlops_runtime.monitor.counting.problems import bounded

_MANY_PROBLEMS = 10_000


@dataclass(slots=True)
class LineReader:
    """Reads lines. Every line that is not blank is one of ``calls``, ``malformed``, ``synthetic`` and ``earlier``.

    A call some of whose rows cannot be read is one of ``calls``: its other rows count, and each that is left out is a problem.

    Args:
        names: The model's columns in their order.
        since: Since when the model serves (ISO 8601, UTC). Default: all calls are its own.
        announced: Which calls the platform announced as its own. Default: none.

    Example:
        >>> reader = LineReader(("price",))
        >>> list(reader.read(["{", ""]))
        []
        >>> reader.malformed, dict(reader.problems)
        (1, {'line_not_json': 1})
    """

    names: Sequence[str]
    since: str = ""
    announced: IsAnnounced = nobody
    calls: int = 0
    malformed: int = 0
    synthetic: int = 0
    earlier: int = 0
    unannounced: int = 0
    first: str = ""
    last: str = ""
    problems: Counter[str] = field(default_factory=Counter)

    def read(self, lines: Iterable[bytes | str]) -> Iterator[Call]:
        """Yield the calls of lines that are the model's."""
        for line in lines:
            if not line.strip():
                continue
            try:
                call = read_call(line, self.names, self.announced)
            except CaptureError as error:
                self.malformed += 1
                self._add(error.problems)
                continue
            if call.is_synthetic:
                self.synthetic += 1
            elif not is_since(call.time, self.since):
                self.earlier += 1
            else:
                self.calls += 1
                self.unannounced += call.is_unannounced
                if call.time:
                    self.first = min(self.first or call.time, call.time)
                    self.last = max(self.last, call.time)
                if call.problems:
                    self._add(call.problems)
                yield call

    def _add(self, problems: Iterable[str]) -> None:
        self.problems.update(problems)
        if len(self.problems) > _MANY_PROBLEMS:
            self.problems = Counter(bounded(self.problems))
