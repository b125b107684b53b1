"""Memory of SageMaker's instance types, by what EC2's families have for a processor; of what is not known, no more than is certain.

See: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-type-specifications.html
"""

import re

_INSTANCE_TYPE = re.compile(r"ml\.([a-z]+)[a-z0-9-]*\.(medium|large|xlarge|(\d+)xlarge)")
_GIB = 1 << 30
# GiB a processor, of the least generation of each family: c4 has 1.875, and t3.medium 2
_A_PROCESSOR = {"c": 1.875, "g": 4, "m": 4, "p": 7.5, "r": 7.5, "t": 4, "x": 15}
_OTHERS = 2
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
    found = _INSTANCE_TYPE.fullmatch(instance_type)
    if found is None:
        return _UNKNOWN * _GIB
    family, size, times = found.groups()
    if size == "medium":  # two processors with half of the memory
        return int(_A_PROCESSOR.get(family, _OTHERS) * _GIB)
    processors = 4 * int(times) if times is not None else {"large": 2, "xlarge": 4}[size]
    return int(_A_PROCESSOR.get(family, _OTHERS) * processors * _GIB)
