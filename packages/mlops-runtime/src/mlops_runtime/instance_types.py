"""SageMaker's instance types: which have local storage, and a lower bound of their memory.

Memory follows from the memory per vCPU of EC2 families:
https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-type-specifications.html

SageMaker stores a job's files in local storage instead of on a volume, and accepts no KMS key for it.

NVMe instance storage is encrypted by a hardware module of the instance with XTS-AES-256; its keys never leave the module and are
destroyed when the instance ends. "You cannot disable this encryption and you cannot provide your own encryption key":
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ssd-instance-store.html

CreateTrainingJob, CreateProcessingJob and CreateTransformJob refuse ``VolumeKmsKeyId`` for such a type ("You can't request a
VolumeKmsKeyId when using an instance type with local storage"); CreateEndpointConfig states that ``KmsKeyId`` does not encrypt it:
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html
"""

import re
from itertools import takewhile

_INSTANCE_TYPE = re.compile(r"ml\.([a-z0-9-]+)\.[a-z0-9-]+")
# Families of SageMaker's instance types with InstanceStorageSupported in EC2, read from DescribeInstanceTypes on 2026-11-29;
# dl1 and p6e-gb200 from https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html. A "d" behind the generation stands for local
# disks: https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
_LOCAL_STORAGE = re.compile(r"[a-z]\d[a-ce-z]*d[a-z]*|dl1|g[5-7]e?|p4de?|p[56][a-z]*(-[a-z0-9]+)?|trn1n?|trn2u?")
_GIB = 1 << 30
# least GiB per vCPU of each family's generations; for example c4 has 1.875
_A_PROCESSOR = {"c": 1.875, "g": 4, "m": 4, "p": 7.5, "r": 7.5, "t": 4, "x": 15}
_OTHERS = 2
_SIZES = {"medium": 1, "large": 2, "xlarge": 4}
# GiB of an unknown type, such as a CDK token
_UNKNOWN = 8


def takes_volume_key(instance_type: str) -> bool:
    """Return whether a KMS key can be given for the volume of an instance type.

    Args:
        instance_type: SageMaker's name of the type; a CDK token counts as a type with a volume.

    Example:
        >>> takes_volume_key("ml.m5.large"), takes_volume_key("ml.g5.xlarge"), takes_volume_key("ml.c6gd.2xlarge")
        (True, False, False)
    """
    family = _INSTANCE_TYPE.fullmatch(instance_type)
    return family is None or _LOCAL_STORAGE.fullmatch(family[1]) is None


def volume_key(instance_type: str, key: str) -> dict[str, str]:
    """Return the ``VolumeKmsKeyId`` member of a job's resources; empty for instance types with local storage."""
    return {"VolumeKmsKeyId": key} if takes_volume_key(instance_type) else {}


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
