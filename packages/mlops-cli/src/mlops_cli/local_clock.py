"""``mlops local clock``: show, advance and scale the embedded cloud's clock."""

import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError, shown
from mlops_cli.local import Home, home_folder
from mlops_runtime.iso_time import parse_time

_SPAN = re.compile(
    r"(?:(?P<weeks>\d+)w)?(?:(?P<days>\d+)d)?(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?"
)
# a long jump is made in steps, to show progress and to end an interrupted one at the end of a day
_STRIDE = timedelta(days=1)


def clock(
    jump: Annotated[
        str | None, typer.Option(help="Advance the clock by a duration: 7d, 12h, 1d6h30m.", metavar="SPAN")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Advance the clock to a time, UTC unless it has a zone.")] = None,
    scale: Annotated[float | None, typer.Option(help="Speed from now on: embedded seconds in one real second.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show the embedded cloud's time. A jump runs all schedules, waits and alarms that become due, each at its own time."""
    from mlops_local import cloud

    if sum(option is not None for option in (jump, to, scale)) > 1:
        raise typer.BadParameter("give one of --jump, --to and --scale")
    by = None if jump is None else span(jump)
    until = None if to is None else moment(to)
    with shown(cloud.CloudError):
        running = cloud.connect(home_folder(home))
        before = running.clock()
        if by is not None:
            until = moved(datetime.fromisoformat(before["now"]), by, option="--jump")
        if until is not None:
            start = datetime.fromisoformat(before["now"])
            result = {**_jump(start, until, lambda at: running.clock_jump(to=at)), "from": before["now"]}
        elif scale is not None:
            result = running.clock_scale(scale)
        else:
            result = before
    answer(result, _sentence(result), as_json=as_json)


def _jump(start: datetime, until: datetime, move: Callable[[datetime], dict[str, Any]]) -> dict[str, Any]:
    """Advance the clock day by day; return its final state, with the total number of due times that ran."""
    at, ran = start, 0
    while until - at > _STRIDE:
        at += _STRIDE
        result = move(at)
        ran += int(result["ran"])
        print(f"{result['now']}: {ran} due times ran", file=sys.stderr)
    result = move(until)
    return {**result, "ran": ran + int(result["ran"])}


def _sentence(result: dict[str, Any]) -> str:
    now = f"{result['now']}, {result['scale']:g} embedded seconds per real second"
    return f"{now}; {result['ran']} due times ran since {result['from']}" if "from" in result else now


def span(text: str) -> timedelta:
    """Parse a duration.

    Raises:
        typer.BadParameter: If the text is not a duration, or is empty.

    Example:
        >>> span("7d"), span("1d6h30m")
        (datetime.timedelta(days=7), datetime.timedelta(days=1, seconds=23400))
    """
    found = _SPAN.fullmatch(text)
    try:
        total = (
            timedelta(**{unit: int(value) for unit, value in found.groupdict(default="0").items()}) if found else None
        )
    except (OverflowError, ValueError):  # a ValueError for thousands of digits
        total = None
    if not total:
        raise typer.BadParameter(
            f"a duration must be numbers with w, d, h, m, s in this order, such as 7d or 1d6h, got {text!r}"
        )
    return total


def moved(start: datetime, by: timedelta, *, option: str) -> datetime:
    """Return the time at a duration from another one, both from options.

    Raises:
        UserError: If it is outside of the years 1 to 9999.

    Example:
        >>> moved(datetime(2017, 8, 7), timedelta(hours=6), option="--jump")
        datetime.datetime(2017, 8, 7, 6, 0)
    """
    try:
        return start + by
    except OverflowError:
        raise UserError(
            f"{option} must stay within the years 1 to 9999, got {by.days:+,} days from {start.isoformat()}; give another"
        ) from None


def moment(text: str) -> datetime:
    """Parse a time, UTC unless it has a zone.

    Raises:
        typer.BadParameter: If the text is not a time.

    Example:
        >>> moment("2017-08-07T06:30").isoformat()
        '2017-08-07T06:30:00+00:00'
    """
    try:
        return parse_time(text)
    except ValueError:
        raise typer.BadParameter(f"a time must have the form 2017-08-07 or 2017-08-07T06:30, got {text!r}") from None
