"""Count capture objects in processes, with the same counts under the same keys as the Lambda engine."""

import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

import boto3

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.jobs.monitor_parts import PART_BYTES, Part, part_lines, parts
from mlops_runtime.monitor.counting.counts import count, merge
from mlops_runtime.monitor.store import MonitorStore

try:
    from mlops_runtime.jobs.monitor_plain import count_lines
except ImportError:  # Spark's image may lack Arrow; the counts are the same
    count_lines = count

_log = logging.getLogger("mlops.monitor")
# counts of a part, an error message, or None for a whole object, whose counts were written
Outcome = Counts | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSettings:
    """Settings of counting processes: buckets, the baseline as JSON, and since when its model is live."""

    endpoint: str
    artifacts: str
    captures: str
    baseline: bytes
    since: str


class ObjectCounter:
    """Counts parts of capture objects, in the process that created it."""

    def __init__(self, settings: CountSettings) -> None:
        self._settings = settings
        self._s3 = boto3.client("s3")
        self._store = MonitorStore(
            self._s3, endpoint=settings.endpoint, artifacts=settings.artifacts, captures=settings.captures
        )
        self._baseline = from_json(Baseline, settings.baseline)
        self._announced = self._store.announced()

    def count(self, part: Part) -> Counts | None:
        """Count a part; write the counts of a whole object, and return those of a part of one."""
        lines = part_lines(self._s3, self._settings.captures, part)
        counts = count_lines(
            lines,
            self._baseline,
            since=self._settings.since,
            announced=self._announced,
            hour=self._store.object_hour(part.key),
        )
        if not part.is_whole:
            return replace(counts, problem_lines=None)  # line numbers in a part are not those in the object
        self.put(part.key, counts)
        return None

    def put(self, key: str, counts: Counts) -> None:
        """Write the counts of a capture object."""
        target = self._store.counts_key(key, counts.baseline_sha256)
        assert target is not None, "only captures are listed"  # noqa: S101
        self._store.put_counts(target, counts)

    def merged(self, before: Counts | None, part: Counts) -> Counts:
        """Add a part of an object to the previous ones; in any order, the result equals a single pass bit for bit."""
        if before is None:
            return part
        both = merge(before, [part])
        return replace(both, objects=part.objects)


def count_objects(
    sizes: Mapping[str, int], settings: CountSettings, *, processes: int, part_bytes: int = PART_BYTES
) -> dict[str, str]:
    """Count capture objects, given their sizes, and write their counts; return why objects were not counted, by their key."""
    counter, todo = ObjectCounter(settings), parts(sizes, part_bytes)
    return collect(todo, _outcomes(todo, settings, counter, min(processes, len(todo))), counter)


def collect(todo: Sequence[Part], outcomes: Iterable[tuple[Part, Outcome]], counter: ObjectCounter) -> dict[str, str]:
    """Write the counts of objects in parts, each after its last part; return why objects were not counted, by their key."""
    waiting = Counter(part.key for part in todo if not part.is_whole)
    found: dict[str, Counts] = {}
    failed: dict[str, str] = {}
    for part, outcome in outcomes:
        if isinstance(outcome, str):
            _log.error("%s is not counted: %s", part.key, outcome)
            failed[part.key] = outcome
        if not isinstance(outcome, Counts) or part.key in failed:
            continue
        # parts are merged as they arrive, so that memory does not grow with the object
        found[part.key] = counter.merged(found.get(part.key), outcome)
        waiting[part.key] -= 1
        if waiting[part.key] == 0:
            counter.put(part.key, found.pop(part.key))
    return failed


def attempt(counter: ObjectCounter, part: Part) -> Outcome:
    """Count a part, or return its error: after any error, the other parts must still be counted."""
    try:
        return counter.count(part)
    except Exception as error:
        return _reason(error)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _outcomes(
    todo: Sequence[Part], settings: CountSettings, counter: ObjectCounter, processes: int
) -> Iterator[tuple[Part, Outcome]]:
    if processes <= 1:
        for part in todo:
            yield part, attempt(counter, part)
        return
    # forks of this single-threaded process share its imports; each has its own connections
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(settings,)) as pool:
        futures = {}
        for part in todo:
            try:
                futures[pool.submit(_count, part)] = part
            except BrokenProcessPool as broken:  # a process may be killed during submission
                yield part, _reason(broken)
        for future in as_completed(list(futures)):
            error = future.exception()  # of the pool: a killed process cancels all remaining parts
            yield futures.pop(future), future.result() if error is None else _reason(error)


_counters: list[ObjectCounter] = []  # state of a pool process between parts


def _begin(settings: CountSettings) -> None:
    _counters.append(ObjectCounter(settings))


def _count(part: Part) -> Outcome:
    return attempt(_counters[0], part)
