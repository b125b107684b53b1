"""How much memory an instance type has at least."""

import pytest

from mlops_runtime.instance_memory import instance_memory


@pytest.mark.parametrize(
    ("instance_type", "gib"),
    [
        ("ml.m5.large", 8),
        ("ml.m5.4xlarge", 64),
        ("ml.c4.xlarge", 7.5),
        ("ml.t3.2xlarge", 32),
        ("ml.g5.xlarge", 16),
        ("ml.p3.2xlarge", 60),
        ("ml.inf1.xlarge", 8),
        ("${Token[1]}", 8),
    ],
)
def test_the_memory_is_never_more_than_the_instance_has(instance_type: str, gib: float) -> None:
    """By family and size; of what is not known 8 GiB."""
    assert instance_memory(instance_type) == gib * 2**30
