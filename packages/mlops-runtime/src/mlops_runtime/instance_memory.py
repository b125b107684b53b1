"""Memory of SageMaker's instance types, by what EC2's families have for a processor; of what is not known, no more than is certain.

See: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-type-specifications.html
"""

from itertools import takewhile

_GIB = 1 << 30
# GiB a processor, of the least generation of each family: c4 has 1.875, and t3.medium 2
_A_PROCESSOR = {"c": 1.875, "g": 4, "m": 4, "p": 7.5, "r": 7.5, "t": 4, "x": 15}
_OTHERS = 2
_SIZES = {"medium": 1, "large": 2, "xlarge": 4}
# of a type that is not known, such as a token of CDK
_UNKNOWN = 8


def instance_memory(instance_type: str) -> int:
    """Return the bytes of memory that an instance type has at least.

    Args:
        instance_type: As SageMaker names it.

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
    """Return the processors of a size; a medium one has half of the memory for each of its two, and counts as one."""
    if size in _SIZES:
        return _SIZES[size]
    times = size.removesuffix("xlarge")
    return 4 * int(times) if times != size and times.isdecimal() else None
