"""On what an endpoint runs."""

from dataclasses import dataclass

from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_pattern, check_range

_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCapacity:
    """Instances behind an endpoint. Use ``instances``.

    Example:
        >>> EndpointCapacity.instances("ml.m5.large", count=2).count
        2
    """

    instance_type: str
    count: int

    @classmethod
    def instances(cls, instance_type: str, *, count: int) -> "EndpointCapacity":
        """Run on a fixed number of instances.

        Args:
            instance_type: SageMaker's name, such as ``ml.m5.large``.
            count: Number of instances; SageMaker spreads two or more over zones.

        Raises:
            ValidationError: If type or count are not possible.
        """
        problems = [
            check_pattern(
                "instance_type", instance_type, pattern=_INSTANCE_TYPE, allowed="a type such as 'ml.m5.large'"
            ),
            # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
            check_range("count", count, minimum=1, maximum=1000),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidCapacity", found)
        return cls(instance_type=instance_type, count=count)
