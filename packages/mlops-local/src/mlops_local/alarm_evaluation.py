"""Evaluation of CloudWatch alarms: metric math, the state that datapoints cause, and the state's reason."""

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from mlops_local.metric_statistics import STATISTICS, extended_problem

Series = Sequence[float | None]
# a number, an id, or an operator with its operands
Node = float | str | tuple[str, tuple["Node", ...]]

_TOKEN = re.compile(r"(\d+\.?\d*|\.\d+)|([A-Za-z]\w*)|(==|!=|<=|>=|[-+*/<>(),])|(\S)")
_ID = re.compile(r"[a-z]\w*")
_COMPARED = ("==", "!=", "<=", ">=", "<", ">")
_OPERATORS: dict[str, Callable[[float, float], float | None]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right if right else None,
    "==": lambda left, right: float(left == right),
    "!=": lambda left, right: float(left != right),
    "<=": lambda left, right: float(left <= right),
    ">=": lambda left, right: float(left >= right),
    "<": lambda left, right: float(left < right),
    ">": lambda left, right: float(left > right),
}
_JOINED: dict[str, Callable[[float, float], float]] = {
    "AND": lambda left, right: float(bool(left) and bool(right)),
    "OR": lambda left, right: float(bool(left) or bool(right)),
}
_FUNCTIONS = {"IF": 3, "FILL": 2, "TIME_SERIES": 1, "HOUR": 1, "DAY": 1, "EPOCH": 1}
_OF_TIME: dict[str, Callable[[datetime], float]] = {
    "HOUR": lambda start: float(start.hour),
    "DAY": lambda start: float(start.isoweekday()),
    "EPOCH": lambda start: start.timestamp(),
}

Points = Sequence[float | None]

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (lambda value, threshold: value > threshold, "greater than"),
    "GreaterThanOrEqualToThreshold": (lambda value, threshold: value >= threshold, "greater than or equal to"),
    "LessThanThreshold": (lambda value, threshold: value < threshold, "less than"),
    "LessThanOrEqualToThreshold": (lambda value, threshold: value <= threshold, "less than or equal to"),
}


class MathError(ValueError):
    """An expression that is not metric math, or uses a part of it that the embedded cloud does not support."""


@cache
def parse(expression: str) -> Node:
    """Parse an expression.

    Raises:
        MathError: With the part that cannot be parsed.

    Example:
        >>> parse("IF(m1 > 10, errors / m1, 0)")
        ('IF', (('>', ('m1', 10.0)), ('/', ('errors', 'm1')), 0.0))
    """
    # claim: metric-math-computes-by-period
    parser = _Parser(expression)
    node = parser.joined()
    if parser.ahead:
        raise MathError(f"expression {expression!r} has an unexpected {parser.ahead!r}")
    return node


class _Parser:
    """Recursive-descent parser; operators of the same precedence associate to the left."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens = text, self._split(text)
        self.ahead = ""
        self._next()

    def joined(self) -> Node:
        # claim: metric-math-computes-by-period
        node, word = self.compared(), self.ahead
        while self.ahead in _JOINED:
            if self.ahead != word:
                # AWS does not document their precedence
                raise MathError(f"AND and OR side by side in {self._text!r} need parentheses")
            node = (self._next(), (node, self.compared()))
        return node

    def compared(self) -> Node:
        return self._ranked(_COMPARED, lambda: self._ranked(("+", "-"), lambda: self._ranked(("*", "/"), self._signed)))

    def _split(self, text: str) -> Iterator[str]:
        # claim: metric-math-computes-by-period
        for number, name, symbol, strange in _TOKEN.findall(text.strip()):
            if strange:
                raise MathError(f"{strange!r} in expression {text!r} is not in the embedded cloud")
            yield number or name or symbol

    def _next(self) -> str:
        taken, self.ahead = self.ahead, next(self._tokens, "")
        return taken

    def _expect(self, symbol: str) -> None:
        # claim: metric-math-computes-by-period
        if self.ahead != symbol:
            raise MathError(f"expression {self._text!r} needs {symbol!r}, got {_shown(self.ahead)}")
        self._next()

    def _ranked(self, operators: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        node = operand()
        while self.ahead in operators:
            node = (self._next(), (node, operand()))
        return node

    def _signed(self) -> Node:
        if self.ahead in {"+", "-"}:
            return self._next(), (0.0, self._signed())
        return self._single()

    def _single(self) -> Node:
        # claim: metric-math-computes-by-period
        word = self._next()
        if word == "(":
            node = self.joined()
            self._expect(")")
            return node
        if word[:1].isdigit() or word[:1] == ".":
            return float(word)
        if not word[:1].isalpha():
            raise MathError(f"expression {self._text!r} needs a number, an id or '(', got {_shown(word)}")
        if self.ahead == "(":
            return self._call(word)
        if not _ID.fullmatch(word):
            raise MathError(
                f"{word} in expression {self._text!r} is not in the embedded cloud; an id begins in lower case"
            )
        return word

    def _call(self, name: str) -> Node:
        # claim: metric-math-computes-by-period
        if name not in _FUNCTIONS:
            known = ", ".join(_FUNCTIONS)
            raise MathError(
                f"function {name} in expression {self._text!r} is not in the embedded cloud; it has {known}"
            )
        self._expect("(")
        arguments = [self.joined()]
        while self.ahead == ",":
            self._next()
            arguments.append(self.joined())
        self._expect(")")
        if len(arguments) != _FUNCTIONS[name]:
            raise MathError(f"{name} takes {_FUNCTIONS[name]} arguments, got {len(arguments)} in {self._text!r}")
        if name == "FILL" and not isinstance(arguments[1], float):
            raise MathError(f"FILL takes a number in the embedded cloud, got something else in {self._text!r}")
        if name == "TIME_SERIES" and not isinstance(arguments[0], float):
            raise MathError(f"TIME_SERIES takes a number, got something else in {self._text!r}")
        if name in _OF_TIME and isinstance(arguments[0], float):
            raise MathError(f"{name} takes a time series, got a number in {self._text!r}")
        return name, tuple(arguments)


def _shown(word: str) -> str:
    return repr(word) if word else "its end"


def names(node: Node) -> set[str]:
    """Return the ids that an expression refers to."""
    if isinstance(node, tuple):
        return set().union(*map(names, node[1]))
    return {node} if isinstance(node, str) else set()


def period(queries: Sequence[Mapping[str, Any]]) -> int:
    """Return the period of an alarm's metrics; all of them share one."""
    return next(int(query["MetricStat"]["Period"]) for query in queries if "MetricStat" in query)


def watched(queries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the query whose values the alarm compares with its threshold."""
    return next(query for query in queries if query.get("ReturnData", True))


def problems(queries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the problems of an alarm's ``Metrics``, which are `MetricDataQuery` of CloudWatch: invalid or unsupported elements."""
    ids = [str(query.get("Id", "")) for query in queries]
    found = [f"Id must begin with a lower-case letter, got {name!r}" for name in ids if not _ID.fullmatch(name)]
    found += [f"Id {name} is not unique" for name in sorted({name for name in ids if ids.count(name) > 1})]
    returned = sum(query.get("ReturnData", True) for query in queries)
    if returned != 1:
        found.append(f"exactly one element of Metrics must return data, got {returned}")
    refers: dict[str, set[str]] = {}
    for query in queries:
        refers[str(query.get("Id"))] = set()
        if ("MetricStat" in query) == ("Expression" in query):
            found.append(f"{query.get('Id')} must have either MetricStat or Expression")
        elif "Expression" in query:
            try:
                refers[query["Id"]] = names(parse(query["Expression"]))
            except MathError as error:
                found.append(str(error))
        else:
            found += _stat_problems(query)
    used = set().union(*refers.values())
    found += [f"expressions refer to {name}, which is not an Id of Metrics" for name in sorted(used - set(ids))]
    periods = {int(query["MetricStat"]["Period"]) for query in queries if "MetricStat" in query}
    if len(periods) != 1:
        found.append(f"Metrics must have at least one metric, and all of one period, got periods {sorted(periods)}")
    if not found and not _reaches(refers, ids, queries):
        found.append("each expression must depend on a metric, and none on itself")
    return found


def _stat_problems(query: Mapping[str, Any]) -> list[str]:
    stat = str(query["MetricStat"].get("Stat"))
    problem = None if stat in STATISTICS else extended_problem(stat)
    found = [] if problem is None else [f"Stat of {query['Id']} must be {', '.join(STATISTICS)} or {problem}"]
    if "AccountId" in query:
        found.append(f"AccountId of {query['Id']} is not in the embedded cloud")
    return found


def _reaches(refers: Mapping[str, set[str]], ids: Sequence[str], queries: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether every expression can be resolved: no cycles, and each leads to a metric."""
    known = {str(query["Id"]) for query in queries if "MetricStat" in query}
    while ready := {name for name in ids if name not in known and refers[name] and refers[name] <= known}:
        known |= ready
    return known >= set(ids)


def evaluate(
    queries: Sequence[Mapping[str, Any]], metric: Callable[[Mapping[str, Any]], Series], starts: Sequence[float] = ()
) -> list[float | None]:
    """Return the values to compare with the alarm's threshold.

    Args:
        queries: ``Metrics`` without problems.
        metric: Returns the datapoints of a ``MetricStat``; the same number for each.
        starts: Start of each period, in epoch seconds. Default: enough for expressions without time functions.
    """
    by_id = {query["Id"]: query for query in queries}

    def values(node: Node) -> float | Series:
        if isinstance(node, float):
            return node
        if isinstance(node, str):
            query = by_id[node]
            return metric(query["MetricStat"]) if "MetricStat" in query else values(parse(query["Expression"]))
        name, operands = node[0], [values(operand) for operand in node[1]]
        if name == "TIME_SERIES":
            return [operands[0]] * len(starts)  # type: ignore[list-item] # a number, as the parser ensures
        if name in _OF_TIME:
            # claim: time-functions-have-no-gaps
            return [_OF_TIME[name](datetime.fromtimestamp(start, UTC)) for start in starts]
        if name == "FILL":
            return _each(lambda value, filling: filling if value is None else value, operands)
        if name == "IF":
            return _each(lambda test, yes, no: None if test is None else yes if test else no, operands)
        work = _JOINED.get(name) or _OPERATORS[name]
        return _each(lambda left, right: None if left is None or right is None else work(left, right), operands)

    result = values(str(watched(queries)["Id"]))
    return (
        [] if isinstance(result, float) else [None if value is None or math.isnan(value) else value for value in result]
    )


def _each(work: Callable[..., float | None], operands: Sequence[float | Series]) -> float | Series:
    """Apply a function to each period; a number is constant over all periods."""
    lengths = [len(operand) for operand in operands if not isinstance(operand, float)]
    if not lengths:
        answer = work(*operands)
        return math.nan if answer is None else answer
    columns = [[operand] * lengths[0] if isinstance(operand, float) else operand for operand in operands]
    return [work(*row) for row in zip(*columns, strict=True)]


# claim: alarm-states-follow-awss-tables
def decide(breaching: Sequence[bool | None], *, periods: int, needed: int, missing: str) -> str | None:
    """Return the alarm state for the datapoints; ``None`` keeps the current state.

    Args:
        breaching: Whether each datapoint of the evaluation range breaches, oldest first; ``None`` if missing.
        periods: ``EvaluationPeriods``, N.
        needed: ``DatapointsToAlarm``, M.
        missing: ``TreatMissingData``.

    Example:
        >>> decide([False, None, True, None, None], periods=3, needed=2, missing="breaching")
        'ALARM'
    """
    real = [point for point in breaching if point is not None][-periods:]
    filled = periods - len(real)
    bad = sum(real) + (filled if missing == "breaching" else 0)
    if not real and missing in {"missing", "ignore"}:
        return "INSUFFICIENT_DATA" if missing == "missing" else None
    if bad >= needed:
        return "ALARM"
    if missing in {"breaching", "notBreaching"} or not all(real):
        return "OK"
    # only breaching datapoints, too few of them: ALARM if the oldest is at least M periods old, so that the next cannot change it
    oldest = len(breaching) - list(breaching).index(True)
    return "ALARM" if missing == "missing" and oldest >= needed else None


def stamp(at: float) -> str:
    """Return a timestamp in the format of alarms, ``2019-10-02T17:04:40.989+0000``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def reason(
    alarm: Mapping[str, Any], points: Points, *, states: tuple[str, str], missing: str, started: float, now: float
) -> tuple[str, str]:
    """Return ``StateReason`` and ``StateReasonData`` in AWS's wording.

    Args:
        alarm: The alarm's configuration.
        points: Datapoints of the evaluation range, oldest first.
        states: The old and the new state.
        missing: How missing data are treated.
        started: Start of the last period, in epoch seconds.
        now: Epoch seconds.
    """
    periods, period = int(alarm["EvaluationPeriods"]), int(alarm["Period"])
    ages = range(len(points) - 1, -1, -1)
    real = [(value, started - age * period) for value, age in zip(points, ages, strict=True) if value is not None][
        -periods:
    ]
    data: dict[str, Any] = {
        "version": "1.0",
        "queryDate": stamp(now),
        "statistic": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
        "period": period,
        "recentDatapoints": [value for value, _ in real],
        "threshold": alarm["Threshold"],
    }
    old, new = states
    if new == "INSUFFICIENT_DATA":
        text = f"Insufficient Data: {periods} datapoint{'s were' if periods > 1 else ' was'} unknown."
    elif not real:
        many = "s" if periods > 1 else ""
        text = (
            f"Threshold Crossed: no datapoints were received for {periods} period{many} and {periods} missing datapoint{many} "
            f"{'were' if many else 'was'} treated as [{missing[0].upper()}{missing[1:]}]."
        )
    else:
        data["startDate"] = stamp(real[0][1])
        needed = int(alarm.get("DatapointsToAlarm") or periods)
        shown = ", ".join(
            f"{value} ({datetime.fromtimestamp(start, UTC):%d/%m/%y %H:%M:%S})" for value, start in reversed(real)
        )
        verb = ("was" if len(real) == 1 else "were") + ("" if new == "ALARM" else " not")
        words = COMPARISONS[alarm["ComparisonOperator"]][1]
        least = needed if new == "ALARM" else periods - needed + 1
        text = (
            f"Threshold Crossed: {len(real)} out of the last {periods} datapoints [{shown}] {verb} {words} the threshold "
            f"({alarm['Threshold']}) (minimum {least} datapoint{'s' if least > 1 else ''} for {old} -> {new} transition)."
        )
    return text, json.dumps(data)
