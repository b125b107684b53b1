"""Checks of responses to golden requests: numbers, bounds, independence of rows, latency. Pure."""

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.rollout.golden_set import CSV, JSON, media_type

MAXIMUM_REASON = 1000
NOISE_MS = 10.0  # random delay of network and scheduler: a smaller slowdown is ignored
# the same as the evaluation's: 32-bit sums in another order
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 1e-4, 1e-6
_MAXIMUM_SHOWN = 160
_FEW = 20  # fewer calls have no 95th percentile
_UNKNOWN = "unknown column"  # the serving container's message for a column that the model does not have
_WANTED = {JSON: '{"predictions": [numbers]}', CSV: "a number at the start of each line"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Result of one call: numbers, or a problem. The time of a retried call is unknown."""

    numbers: tuple[float, ...] = ()
    problem: str | None = None
    milliseconds: float | None = None
    was_retried: bool = False


class GoldenCallError(RuntimeError):
    """An endpoint could not be invoked. The check has no verdict on its model and may be run again."""


def refusal(status: object, message: str) -> str:
    """Return the problem of a response with another status than 2xx."""
    fix = "; leave it out of the golden requests (mlops new --leave-out), or train on it" if _UNKNOWN in message else ""
    return f"the model returned {status}, expected 2xx: {shown(message)}{fix}"


def read_answer(body: bytes, content_type: str, columns: int | None = None) -> Reply:
    """Return the predictions of a 2xx response: ``{"predictions": [...]}``, or the first column of CSV.

    Args:
        body: The response body.
        columns: Numbers in a row's prediction, as a list or as columns of CSV; the result is flattened. Default: one number.

    Example:
        >>> read_answer(b'{"predictions": [1.5, 2]}', "application/json").numbers
        (1.5, 2.0)
    """
    kind = media_type(content_type)
    if kind not in (JSON, CSV):
        return Reply(problem=f"returned content type {content_type!r}, expected {JSON} or {CSV}")
    text = body.decode(errors="replace")
    try:
        if kind == CSV:
            lines = [line.split(",") for line in text.splitlines() if line]
            values = [line[0] for line in lines] if columns is None else _flat(lines, columns)
            return Reply(numbers=tuple(map(float, values)))
        found = json.loads(text)["predictions"]
        return Reply(numbers=tuple(map(_number, found if columns is None else _flat(found, columns))))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        what = _WANTED[kind] if columns is None else f"a list of {columns} numbers for each row"
        return Reply(problem=f"returned {shown(text)}, expected {what} ({type(error).__name__}: {shown(error)})")


def judge(request: GoldenRequest, whole: Reply, singles: Mapping[int, Reply] | None = None) -> list[str]:
    """Return the problems of the responses to one request, each with the value got and the allowed values.

    Args:
        whole: Reply to all its rows at once.
        singles: Replies to rows that were sent alone, by row index. Default: none.

    Example:
        >>> request = GoldenRequest(name="typical", body="1.5", rows=1, content_type="text/csv", minimum=0)
        >>> judge(request, Reply(numbers=(-2.0,)))
        ['1 of 1 numbers below the minimum 0, first in row 0: got -2.0']
    """
    if whole.problem is not None:
        return [whole.problem]
    return [
        *_number_problems(request, whole.numbers),
        *_row_problems(request, whole.numbers),
        *_single_problems(whole.numbers, singles or {}, request.columns or 1),
    ]


def repeated(first: Sequence[float], again: Sequence[float], when: str, *, columns: int = 1) -> list[str]:
    """Return the problems of repeated predictions of the same rows.

    Args:
        first: First predictions.
        again: Later predictions, in the same order.
        when: Description of the time for the problem, such as "in round 2".
        columns: Numbers in a row's prediction. Default: one.

    Example:
        >>> repeated([1.0, 2.0], [1.0, 3.0], "in round 2")
        ['1 of 2 rows got another answer in round 2, first row 1: got 3.0 after 2.0']
    """
    pairs = zip(first, again, strict=True)
    apart = [(place // columns, new, old) for place, (old, new) in enumerate(pairs) if not is_near(old, new)]
    if not apart:
        return []
    row, new, old = apart[0]
    rows = len({row for row, _, _ in apart})
    return [f"{rows} of {len(first) // columns} rows got another answer {when}, first row {row}: got {new} after {old}"]


def slowness(
    ours: Sequence[float], theirs: Sequence[float], *, max_latency_ms: int | None, max_slowdown: float | None
) -> list[str]:
    """Return why calls of one kind are too slow, by their median, so that no single call decides.

    Compared with the live model, the fastest call must also exceed the live model's fastest by the limit, and the median by more
    than `NOISE_MS`: on a busy machine, medians of few short calls differ by chance.

    Args:
        ours: Milliseconds of the candidate's calls.
        theirs: Milliseconds of the live model's same calls.
        max_latency_ms: Limit of the median, None without one.
        max_slowdown: Limit of the median as a multiple of the live model's, None without one.

    Example:
        >>> slowness([40.0, 90.0, 39.0], [11.0, 9.0, 10.0], max_latency_ms=50, max_slowdown=3.0)
        ['the median of 3 calls is 40.0 ms, 4.0 times the 10.0 ms of the live model, at most 3 times are allowed']
    """
    if not ours:
        return []
    median, problems = statistics.median(ours), []
    if max_latency_ms is not None and median > max_latency_ms:
        problems.append(f"the median of {len(ours)} calls is {median:.0f} ms, at most {max_latency_ms} ms are allowed")
    live = statistics.median(theirs) if theirs else 0.0
    is_felt = bool(theirs) and median - live > NOISE_MS
    if is_felt and max_slowdown is not None and min(ours) > max_slowdown * min(theirs) and median > max_slowdown * live:
        problems.append(
            f"the median of {len(ours)} calls is {median:.1f} ms, {median / live:.1f} times the {live:.1f} ms of the live "
            f"model, at most {max_slowdown:g} times are allowed"
        )
    return problems


def may_be_slow(
    ours: Sequence[float], theirs: Sequence[float], *, max_latency_ms: int | None, max_slowdown: float | None
) -> bool:
    """Return whether to measure calls of one kind again: if the median or the fastest call is slow, since waits hide slowness.

    Args:
        ours: Milliseconds of the candidate's calls.
        theirs: Milliseconds of the live model's same calls.
        max_latency_ms: As for `slowness`.
        max_slowdown: As for `slowness`.

    Example:
        >>> may_be_slow([40.0, 90.0, 39.0], [11.0, 60.0, 70.0], max_latency_ms=None, max_slowdown=3.0)
        True
    """
    if not ours:
        return False
    if max_latency_ms is not None and statistics.median(ours) > max_latency_ms:
        return True
    if max_slowdown is None or not theirs:
        return False
    pairs = [(statistics.median(ours), statistics.median(theirs)), (min(ours), min(theirs))]
    return any(own > max_slowdown * live and own - live > NOISE_MS for own, live in pairs)


def deviations(candidate: Sequence[float], live: Sequence[float]) -> list[float]:
    """Return the relative difference of each number to the live model's; infinite if only the live model's is 0.

    Example:
        >>> deviations([1.0, 3.0, 0.0], [2.0, 3.0, 0.0])
        [0.5, 0.0, 0.0]
    """
    pairs = zip(candidate, live, strict=True)
    return [
        0.0 if ours == theirs else abs(ours - theirs) / abs(theirs) if theirs else math.inf for ours, theirs in pairs
    ]


def row_deviations(
    request: GoldenRequest, candidate: Sequence[float], live: Sequence[float], limit: float
) -> list[str]:
    r"""Return the problems of rows whose predictions are far from the live model's.

    A difference is relative to the live model's prediction, or to half the median of its predictions if that is larger: a ratio of
    two predictions close to zero is meaningless.

    Args:
        candidate: The candidate's predictions.
        live: The live model's predictions.
        limit: Largest allowed difference.

    Example:
        >>> request = GoldenRequest(name="categories", body="1\n2\n3", rows=3, content_type="text/csv", minimum=0)
        >>> row_deviations(request, [10.0, 0.0, 0.5], [11.0, 9.0, 0.1], 0.9)
        ["1 of 3 rows are further than 0.9 from the live model's answer, first row 1: got 0.0, the live model answers 9.0"]
    """
    columns = request.columns or 1
    floor = statistics.median(map(abs, live)) / 2
    far = [
        place
        for place, (ours, theirs) in enumerate(zip(candidate, live, strict=True))
        if abs(ours - theirs) > limit * max(abs(theirs), floor)
    ]
    if not far:
        return []
    rows, first = len({place // columns for place in far}), far[0]
    return [
        f"{rows} of {request.rows} rows are further than {limit:g} from the live model's answer, first row {first // columns}: "
        f"got {candidate[first]}, the live model answers {live[first]}"
    ]


def hesitations(pairs: Sequence[tuple[float, float, float]], max_slowdown: float) -> tuple[int, int]:
    """Return the number of pairs in which only the candidate's call was too slow, and in which only the live model's was.

    A busy machine slows down either of two consecutive calls: if the candidate is as fast, both cases are equally likely.

    Args:
        pairs: Milliseconds of the candidate's call, of the live model's, and the live model's median for that request.
        max_slowdown: A call is too slow above this multiple of the median and more than `NOISE_MS` above the median.

    Example:
        >>> hesitations([(400.0, 9.0, 10.0), (11.0, 9.0, 10.0), (12.0, 300.0, 10.0), (500.0, 500.0, 10.0)], 3.0)
        (1, 1)
    """
    slow = [
        tuple(took > max_slowdown * usual and took - usual > NOISE_MS for took in (ours, theirs))
        for ours, theirs, usual in pairs
    ]
    return slow.count((True, False)), slow.count((False, True))


def busyness(live: Sequence[float]) -> float:
    """Return the 95th percentile of the live model's times relative to their median, at least 1: the effect of a busy machine.

    On a busy machine one process may wait for a minute more often than another. Calls that exceed this by the limit are slow
    because of the model itself.

    Args:
        live: Time of each call of the live model, divided by the median of its request.

    Example:
        >>> busyness([1.0] * 90 + [4.0] * 10), busyness([0.9, 1.0]), busyness([])
        (4.0, 1.0, 1.0)
    """
    return 1.0 if len(live) < _FEW else max(1.0, statistics.quantiles(live, n=20, method="inclusive")[-1])


def chance_of(ours: int, theirs: int, *, times: int) -> float:
    """Return the probability of at least ``ours`` of all cases if ours are ``times`` as likely as theirs.

    Example:
        >>> chance_of(0, 0, times=2), chance_of(3, 0, times=1), round(chance_of(20, 0, times=2), 4)
        (1.0, 0.125, 0.0003)
    """
    both = ours + theirs
    found: float = (
        sum(math.comb(both, number) * times**number for number in range(ours, both + 1)) / (times + 1) ** both
    )
    return found


def deviation_problem(differences: Sequence[float], limit: float) -> str | None:
    """Return the problem of the candidate's median deviation from the live model, over at least one number."""
    found = statistics.median(differences)
    if found <= limit:
        return None
    return (
        f"the median relative deviation from the live model is {found:.3g} over {len(differences)} numbers, at most "
        f"{limit:g} is allowed"
    )


def reason_of(problems: Mapping[str, Sequence[str]], *, of: int, others: Sequence[str] = ()) -> str:
    """Return one sentence on all failing requests, each with an equal share of `MAXIMUM_REASON` characters."""
    head = f"{len(problems)} of {of} golden requests failed: " if problems else ""
    tail = "".join(f"; {other}" for other in others) if head else "; ".join(others)
    share = max(40, (MAXIMUM_REASON - len(head) - len(tail)) // max(1, len(problems)) - 2)
    texts = (f"{name}: {', '.join(found)}" for name, found in problems.items())
    return cut(head + "; ".join(cut(text, share) for text in texts) + tail, MAXIMUM_REASON)


def is_whole(request: GoldenRequest, reply: Reply) -> bool:
    """Return whether a response has finite numbers for every row."""
    return len(reply.numbers) == request.numbers and all(map(math.isfinite, reply.numbers))


def is_near(a: float, b: float) -> bool:
    """Return whether two numbers are equal except for rounding."""
    same = math.isclose(a, b, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)
    return same or (math.isnan(a) and math.isnan(b))


def _number_problems(request: GoldenRequest, numbers: Sequence[float]) -> Iterator[str]:
    if len(numbers) != request.numbers:
        yield f"got {len(numbers)} numbers for {request.rows} rows"
    columns, low, high = request.columns or 1, request.minimum, request.maximum
    checks: dict[str, Callable[[float], bool]] = {
        "are not finite": lambda number: not math.isfinite(number),
        f"below the minimum {low:g}" if low is not None else "": lambda number: low is not None and number < low,
        f"above the maximum {high:g}" if high is not None else "": lambda number: high is not None and number > high,
    }
    for what, is_wrong in checks.items():
        wrong = [place for place, number in enumerate(numbers) if is_wrong(number)]
        if wrong:
            row = wrong[0] // columns
            yield f"{len(wrong)} of {len(numbers)} numbers {what}, first in row {row}: got {numbers[wrong[0]]}"
    for word, bounds in (("below the minimum", request.minimums), ("above the maximum", request.maximums)):
        for column, bound in enumerate(bounds or ()):
            found = numbers[column::columns]
            beyond = [row for row, number in enumerate(found) if (number < bound if word[0] == "b" else number > bound)]
            if beyond:
                message = f"{len(beyond)} of {len(found)} numbers of column {column} {word} {bound:g}"
                yield f"{message}, first in row {beyond[0]}: got {found[beyond[0]]}"


def _row_problems(request: GoldenRequest, numbers: Sequence[float]) -> Iterator[str]:
    """Yield the problem of rows beyond their own bounds."""
    columns = request.columns or 1
    for word, bounds in (("below", request.row_minimums), ("above", request.row_maximums)):
        beyond = [
            (row, number, bound)
            for row, bound in enumerate(bounds or ())
            for number in numbers[row * columns : (row + 1) * columns]
            if bound is not None and (number < bound if word == "below" else number > bound)
        ]
        if beyond:
            row, number, bound = beyond[0]
            yield f"{len(beyond)} numbers {word} the bound of their row, first in row {row}: got {number}, allowed is {bound:g}"


def _single_problems(numbers: Sequence[float], singles: Mapping[int, Reply], columns: int) -> Iterator[str]:
    if any((row + 1) * columns > len(numbers) for row in singles):
        return
    failed = [(row, reply.problem) for row, reply in singles.items() if reply.problem is not None]
    if failed:
        row, problem = failed[0]
        yield f"{len(failed)} of {len(singles)} rows fail when sent alone, first row {row}: {problem}"
    pairs = [
        (row, reply.numbers, tuple(numbers[row * columns : (row + 1) * columns]))
        for row, reply in singles.items()
        if reply.problem is None
    ]
    apart = [(row, alone, among) for row, alone, among in pairs if not _are_near(alone, among)]
    if apart:
        row, alone, among = apart[0]
        shown_alone = _answer(alone) if len(alone) == columns else f"{len(alone)} numbers"
        yield (
            f"{len(apart)} of {len(singles)} rows differ when sent alone, first row {row}: got {shown_alone} alone and "
            f"{_answer(among)} among {len(numbers) // columns}, a relative difference of {_RELATIVE_TOLERANCE:g} is allowed"
        )


def _are_near(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(map(is_near, one, other))


def _answer(numbers: Sequence[float]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else shown(list(numbers))


def _flat(rows: object, columns: int) -> list[Any]:
    """Return the values of all rows, flattened.

    Raises:
        TypeError: If a row has another number of values.
    """
    if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) != columns for row in rows):
        raise TypeError(f"a row does not have {columns} numbers")
    return [value for row in rows for value in row]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def shown(value: object) -> str:
    """Return a value as a short string for a reason."""
    return cut(str(value), _MAXIMUM_SHOWN)


def cut(text: str, limit: int) -> str:
    """Return a string, shortened to at most ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
