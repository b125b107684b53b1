"""Memory of SageMaker instance types, from the memory per vCPU of EC2 families; a lower bound for unknown types.

See: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-type-specifications.html
"""

from itertools import takewhile

_GIB = 1 << 30
# least GiB per vCPU of each family's generations; for example c4 has 1.875
_A_PROCESSOR = {"c": 1.875, "g": 4, "m": 4, "p": 7.5, "r": 7.5, "t": 4, "x": 15}
_OTHERS = 2
_SIZES = {"medium": 1, "large": 2, "xlarge": 4}
# GiB of an unknown type, such as a CDK token
_UNKNOWN = 8


def instance_memory(instance_type: str) -> int:
    """Return a lower bound of an instance type's memory, in bytes.

    Args:
        instance_type: SageMaker's name of the type, such as ``ml.m5.large``.

    Example:
        >>> [instance_memory(f"ml.{name}") // (1 << 30) for name in ("m5.large", "c5.4xlarge", "r5.24xlarge", "t3.medium")]
        [8, 30, 720, 4]
    """
    parts = instance_type.split(".")
    processors = _processors(parts[-1])
    if len(parts) != 3 or parts[0] != "ml" or processors is None:
        return _UNKNOWN * _GIB
    return int(_A_PROCESSOR.get("".join(takewhile(str.isalpha, parts[1])), _OTHERS) * processors * _GIB)


def _processors(size: str) -> int | None:
    """Return the vCPUs of a size; ``medium`` counts as one, since its two have half of the memory each."""
    if size in _SIZES:
        return _SIZES[size]
    times = size.removesuffix("xlarge")
    return 4 * int(times) if times != size and times.isdecimal() else None
