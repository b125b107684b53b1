"""Count capture objects in processes: the counts that the Lambda engine would have written, in the places where it puts them."""

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
except ImportError:  # an image of Spark's need not have Arrow; the counts are the same
    count_lines = count

_log = logging.getLogger("mlops.monitor")
# a part's counts, the reason for missing ones, or nothing for a whole object, whose counts are written
Outcome = Counts | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSettings:
    """What a process needs to count: places, the baseline as JSON, and since when its model serves."""

    endpoint: str
    artifacts: str
    captures: str
    baseline: bytes
    since: str


class ObjectCounter:
    """Counts parts of capture objects, in the process that made it.

    Args:
        settings: Places and baseline.
    """

    def __init__(self, settings: CountSettings) -> None:
        self._settings = settings
        self._s3 = boto3.client("s3")
        self._store = MonitorStore(
            self._s3, endpoint=settings.endpoint, artifacts=settings.artifacts, captures=settings.captures
        )
        self._baseline = from_json(Baseline, settings.baseline)
        self._announced = self._store.announced()

    def count(self, part: Part) -> Counts | None:
        """Count a part; the counts of a whole object are written, and those of a part of it returned."""
        lines = part_lines(self._s3, self._settings.captures, part)
        counts = count_lines(
            lines,
            self._baseline,
            since=self._settings.since,
            announced=self._announced,
            hour=self._store.object_hour(part.key),
        )
        if not part.is_whole:
            return replace(counts, problem_lines=None)  # its lines have other numbers in the object
        self.put(part.key, counts)
        return None

    def put(self, key: str, counts: Counts) -> None:
        """Write the counts of a capture object."""
        target = self._store.counts_key(key, counts.baseline_sha256)
        assert target is not None, "only captures are listed"  # noqa: S101
        self._store.put_counts(target, counts)

    def merged(self, before: Counts | None, part: Counts) -> Counts:
        """Add a part of an object to those before it: in any order, bit for bit the counts of one pass."""
        if before is None:
            return part
        both = merge(before, [part])
        return replace(both, objects=part.objects)


def count_objects(
    sizes: Mapping[str, int], settings: CountSettings, *, processes: int, part_bytes: int = PART_BYTES
) -> dict[str, str]:
    """Count capture objects and write their counts.

    Args:
        sizes: Bytes by key.
        settings: Places and baseline.
        processes: How many count side by side; with one, this process does.
        part_bytes: An object of more bytes is counted in parts.

    Returns:
        Why an object could not be counted, by its key; the others are.
    """
    counter, todo = ObjectCounter(settings), parts(sizes, part_bytes)
    return collect(todo, _outcomes(todo, settings, counter, min(processes, len(todo))), counter)


def collect(todo: Sequence[Part], outcomes: Iterable[tuple[Part, Outcome]], counter: ObjectCounter) -> dict[str, str]:
    """Write the counts of objects that were counted in parts, as soon as their last part is there.

    Returns:
        Why an object could not be counted, by its key.
    """
    waiting = Counter(part.key for part in todo if not part.is_whole)
    found: dict[str, Counts] = {}
    failed: dict[str, str] = {}
    for part, outcome in outcomes:
        if isinstance(outcome, str):
            _log.error("%s is not counted: %s", part.key, outcome)
            failed[part.key] = outcome
        if not isinstance(outcome, Counts) or part.key in failed:
            continue
        # parts are added as they come, so that what is held does not grow with the object
        found[part.key] = counter.merged(found.get(part.key), outcome)
        waiting[part.key] -= 1
        if waiting[part.key] == 0:
            counter.put(part.key, found.pop(part.key))
    return failed


def attempt(counter: ObjectCounter, part: Part) -> Outcome:
    """Count a part, or return why it cannot be counted: for any error, the others must still be counted."""
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
    # copies of this process, which has no threads: what is imported is shared; connections are their own
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(settings,)) as pool:
        futures = {}
        for part in todo:
            try:
                futures[pool.submit(_count, part)] = part
            except BrokenProcessPool as broken:  # a process may be killed while parts are still handed out
                yield part, _reason(broken)
        for future in as_completed(list(futures)):
            error = future.exception()  # of the pool: a process that was killed takes all that is left with it
            yield futures.pop(future), future.result() if error is None else _reason(error)


_counters: list[ObjectCounter] = []  # what a process of the pool keeps between parts


def _begin(settings: CountSettings) -> None:
    _counters.append(ObjectCounter(settings))


def _count(part: Part) -> Outcome:
    return attempt(_counters[0], part)
