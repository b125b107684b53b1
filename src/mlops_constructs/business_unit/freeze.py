"""When a unit's models stay as they are: peak season, stocktaking, a migration."""

from dataclasses import dataclass

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_runtime.business_unit.freeze_calendar import Freeze, read_freezes
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.unit_entries import FreezeSpec

# half of what Lambda allows a function's environment:
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-limits
_MAXIMUM_CHARACTERS = 2048


@checked("InvalidFreezeCalendar")
@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeCalendar:
    """When nothing is retrained, approved or promoted by automation, and no promotion starts. Going back is always allowed.

    Args:
        freezes: The times, in any order.

    Raises:
        ValidationError: With every time that is none, is told nowhere, ends before it starts or overlaps another.

    Example:
        >>> calendar = FreezeCalendar.of(
        ...     Freeze(name="stocktaking", start="2027-01-04", end="2027-01-06", time_zone="Europe/Berlin"),
        ...     *Freeze.yearly(name="peak season", years=[2026, 2027], start="11-15", end="12-27", time_zone="Europe/Berlin"),
        ... )
        >>> [window.name for window in calendar.spec.windows]
        ['peak season 2026', 'stocktaking', 'peak season 2027']
    """

    freezes: tuple[Freeze, ...]

    def __post_init__(self) -> None:
        spec, problems = read_freezes(self.freezes)
        if not self.freezes:
            problems.append("freezes must not be empty; leave `freeze` out of a unit that is never frozen")
        size = len(canonical_json(spec))
        if size > _MAXIMUM_CHARACTERS:
            problems.append(
                f"freezes must have at most {_MAXIMUM_CHARACTERS} characters as JSON, which is about 20, got {size} in "
                f"{len(self.freezes)}; leave out those that are over"
            )
        if problems:
            raise ValidationError("InvalidFreezeCalendar", problems)

    @classmethod
    def of(cls, *freezes: Freeze) -> "FreezeCalendar":
        """Make a calendar of these times.

        Args:
            freezes: The times, in any order.
        """
        return cls(freezes=freezes)

    @property
    def spec(self) -> FreezeSpec:
        """The calendar as functions read it: instants in UTC, in order."""
        return read_freezes(self.freezes)[0]
