"""What is kept of the calls of an endpoint."""

from dataclasses import dataclass, field

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_range
from mlops_constructs.model_endpoint.personal import PersonalData


@checked("InvalidDataCapture")
@dataclass(frozen=True, slots=True, kw_only=True)
class DataCapture:
    """Keep requests and responses for the monitors.

    Args:
        sampling_percent: Share of calls that is kept, 1 to 100 percent.
        retention: How long captures and labels are kept, at least a day. Default: 90 days.
        personal_data: Fields that clients hash or leave out before they send anything. Default: no field is personal.

    Raises:
        ValidationError: If a value is not possible.

    Example:
        >>> DataCapture(sampling_percent=100).retention.to_days()
        90
    """

    sampling_percent: int
    retention: cdk.Duration = field(default_factory=lambda: cdk.Duration.days(90))
    personal_data: PersonalData | None = None

    def __post_init__(self) -> None:
        days = cdk.Duration.days
        problems = [
            check_range(
                "sampling_percent",
                self.sampling_percent,
                minimum=1,
                maximum=100,
                fix="leave capture out to keep nothing",
            ),
            check_duration("retention", self.retention, minimum=days(1), maximum=days(3650), whole="days"),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidDataCapture", found)
