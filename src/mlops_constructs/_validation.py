"""The error of invalid arguments, and checks that accept CDK tokens: a value only known at deployment is not checked at synthesis.

A number token is a large negative number and a string token has a length of its own, so naive checks would pass or fail by
accident.

See: https://docs.aws.amazon.com/cdk/v2/guide/tokens.html
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Literal

import aws_cdk as cdk

from constructs import IConstruct

_IS_TRIED = ContextVar("_IS_TRIED", default=False)
_MILLISECONDS = {"milliseconds": 1, "seconds": 1000, "minutes": 60_000, "days": 86_400_000}


class ValidationError(ValueError):
    """Invalid arguments of a construct; the message contains the code, every problem and the construct's path.

    Attributes:
        code: Stable name of the rule, such as ``InvalidBusinessUnit``.
        problems: One message per problem: the value got, what is allowed, and the fix.
    """

    def __init__(self, code: str, problems: Iterable[str], scope: IConstruct | None = None) -> None:
        self.code = code
        self.problems = tuple(problems)
        where = "" if scope is None else f" [{scope.node.path}]"
        super().__init__(f"{code}: {'; '.join(self.problems)}{where}")


def is_known(value: object) -> bool:
    """Return whether a value can be checked at synthesis: it is set and not a token."""
    if isinstance(value, str) and "${Token[" not in value:
        return True  # every string token contains it; asking Node.js about each string would dominate the synthesis
    return value is not None and not cdk.Token.is_unresolved(value)


def check_range(name: str, value: float | None, *, minimum: float, maximum: float, fix: str = "") -> str | None:
    """Return the problem of a number outside ``minimum`` to ``maximum`` (both allowed), if it is known."""
    if value is None or not is_known(value):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and minimum <= value <= maximum:
        return None
    return f"{name} must be from {minimum} to {maximum}, got {value!r}" + (f"; {fix}" if fix else "")


def check_whole(name: str, value: int, *, minimum: int, maximum: int) -> str | None:
    """Return the problem of a number that is not an integer from ``minimum`` to ``maximum`` (both allowed), if it is known."""
    if cdk.Token.is_unresolved(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
        return None
    return f"{name} must be a whole number from {minimum} to {maximum}, got {value!r}"


def is_file(path: str | Path) -> bool:
    """Return whether a file exists; a name that the file system does not allow counts as missing."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def check_pattern(name: str, value: str | None, *, pattern: str, allowed: str) -> str | None:
    """Return the problem of a value that is not a string or does not fully match ``pattern``, if it is known."""
    if value is None or not is_known(value) or (isinstance(value, str) and re.fullmatch(pattern, value)):
        return None
    return f"{name} must be {allowed}, got {value!r}"


def check_duration(
    name: str,
    value: cdk.Duration | None,
    *,
    minimum: cdk.Duration,
    maximum: cdk.Duration,
    whole: Literal["milliseconds", "seconds", "minutes", "days"] = "seconds",
) -> str | None:
    """Return the problem of a duration outside ``minimum`` to ``maximum`` (both allowed) or not in whole units, if it is known."""
    if value is not None and not isinstance(value, cdk.Duration):
        return f"{name} must be a cdk.Duration such as Duration.days(90), got {value!r}"
    if value is None or value.is_unresolved():
        return None
    millis = _milliseconds(value)
    if _milliseconds(minimum) <= millis <= _milliseconds(maximum):
        is_whole = millis % _MILLISECONDS[whole] == 0
        return None if is_whole else f"{name} must be whole {whole}, got {value.to_human_string()}"
    return (
        f"{name} must be from {minimum.to_human_string()} to {maximum.to_human_string()}, got {value.to_human_string()}"
    )


@cache
def _milliseconds(duration: cdk.Duration) -> float:
    return duration.to_milliseconds(integral=False)


def check_size(name: str, value: cdk.Size, *, minimum: cdk.Size, maximum: cdk.Size) -> str | None:
    """Return the problem of a size that is not whole MiB from ``minimum`` to ``maximum`` (both allowed), if it is known."""
    if not isinstance(value, cdk.Size):
        return f"{name} must be a cdk.Size such as Size.mebibytes({minimum.to_mebibytes():g}), got {value!r}"
    if value.is_unresolved():
        return None
    smallest, largest, size = minimum.to_bytes(), maximum.to_bytes(), value.to_bytes()
    if smallest <= size <= largest and size % 1024**2 == 0:
        return None
    return f"{name} must be whole MiB from {minimum.to_mebibytes():g} to {maximum.to_mebibytes():g}, got {size / 1024**2:g} MiB"


@contextmanager
def tried() -> Iterator[None]:
    """Make the first ``raise_if_any`` raise even without a problem, so that a trial call defines no resource."""
    token = _IS_TRIED.set(True)
    try:
        yield
    finally:
        _IS_TRIED.reset(token)


def raise_if_any(scope: IConstruct, code: str, problems: Iterable[str | None]) -> None:
    """Raise one error for all problems; ``None`` marks a check that passed.

    Raises:
        ValidationError: If there is a problem.
    """
    found = [problem for problem in problems if problem is not None]
    if found or _IS_TRIED.get():
        raise ValidationError(code, found, scope)


def raise_problems(code: str, problems: Iterable[str | None]) -> None:
    """Raise one error for all problems of a value that is not a construct; ``None`` marks a check that passed.

    Raises:
        ValidationError: If there is a problem.
    """
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ValidationError(code, found)
