"""On what an endpoint runs."""

import pytest

from mlops_constructs import EndpointCapacity
from mlops_constructs._errors import ValidationError


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_instances_keep_type_and_count(count: int) -> None:
    """What is given is what is declared, up to SageMaker's limit."""
    capacity = EndpointCapacity.instances("ml.m5.large", count=count)

    assert (capacity.instance_type, capacity.count) == ("ml.m5.large", count)


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_fails_on_an_impossible_count(count: int) -> None:
    """The message names the prop and the value."""
    with pytest.raises(ValidationError, match=rf"InvalidCapacity: count .*got {count}"):
        EndpointCapacity.instances("ml.m5.large", count=count)


def test_fails_with_every_problem_at_once() -> None:
    """A wrong type does not hide a wrong count."""
    with pytest.raises(ValidationError, match=r"instance_type .*'m5.large'.*count .*got 0"):
        EndpointCapacity.instances("m5.large", count=0)
