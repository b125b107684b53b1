"""The freeze calendar of a unit."""

import re
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit, Freeze, FreezeCalendar, ValidationError


def test_a_calendar_is_instants_in_order() -> None:
    """Functions read UTC."""
    calendar = FreezeCalendar.of(
        *Freeze.yearly(name="peak", years=[2027, 2026], start="11-15", end="12-27", time_zone="Europe/Berlin")
    )

    assert [window.name for window in calendar.spec.windows] == ["peak 2026", "peak 2027"]
    assert calendar.spec.windows[0].start.isoformat() == "2026-11-14T23:00:00+00:00"


def test_fails_with_every_problem() -> None:
    """Before anything is synthesized."""
    with pytest.raises(ValidationError) as caught:
        FreezeCalendar.of(
            Freeze(name="naive", start="2026-11-20", end="2026-11-21T00:00Z"),
            Freeze(name="backwards", start="2026-11-20T00:00Z", end="2026-11-19T00:00Z"),
        )

    assert caught.value.code == "InvalidFreezeCalendar"
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["'naive'", "'backwards'"]


def test_fails_when_it_freezes_nothing() -> None:
    """An empty calendar looks like protection."""
    with pytest.raises(ValidationError, match="freezes must not be empty; leave `freeze` out"):
        FreezeCalendar.of()


def test_fails_when_no_function_could_carry_it() -> None:
    """Lambda's environment is small."""
    freezes = Freeze.yearly(
        name="a season of many years", years=range(2000, 2030), start="01-01", end="01-02", time_zone="UTC"
    )

    with pytest.raises(ValidationError, match="at most 2048 characters as JSON, which is about 20, got 3"):
        FreezeCalendar.of(*freezes)


def test_the_page_declares_a_calendar_that_works() -> None:
    """Word for word what `docs/operations.md` shows."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "FreezeCalendar" in block]
    stack = cdk.Stack(cdk.App(), "S")

    names = {"stack": stack, "BusinessUnit": BusinessUnit, "Freeze": Freeze, "FreezeCalendar": FreezeCalendar}
    exec(code.replace("self", "stack"), names)  # noqa: S102 - the page's own code

    Template.from_stack(stack).resource_count_is("AWS::SSM::Parameter", 1)
