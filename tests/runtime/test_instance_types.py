"""Storage that instance types have of their own, and how much memory they have at least."""

import pytest
from botocore.session import get_session

from mlops_runtime.instance_types import instance_memory, takes_volume_key, volume_key

SHAPES = ("TrainingInstanceType", "ProcessingInstanceType", "TransformInstanceType", "ProductionVariantInstanceType")
# InstanceStorageSupported of EC2's DescribeInstanceTypes, by family; no family has types of both kinds
WITH_STORAGE = """
c5d c6gd dl1 g4dn g5 g6 g6e g7 g7e m5d m6gd p3dn p4d p4de p5 p5e p5en p6-b200 p6-b300 p6e-gb200 r5d r6gd r7gd trn1 trn1n trn2
"""
WITHOUT = """
c4 c5 c5n c6a c6g c6gn c6i c6in c7a c7g c7i c8a c8g c8i inf1 inf2 m4 m5 m6a m6g m6i m7a m7g m7i m8a m8g m8i p2 p3 r5 r6a r6g r6i
r7a r7g r7i r8a r8g r8i t2 t3 c7i-flex c8i-flex m7i-flex m8i-flex r8i-flex
"""


def families() -> dict[str, list[str]]:
    """Return the instance types that the API lists, by family."""
    model = get_session().get_service_model("sagemaker")
    found: dict[str, list[str]] = {}
    for kind in {kind for shape in SHAPES for kind in model.shape_for(shape).enum if kind.startswith("ml.")}:
        found.setdefault(kind.split(".")[1], []).append(kind)
    return found


def test_every_type_of_the_api_is_known() -> None:
    """A family that a later API brings must be looked up in EC2's list, and added to one of the two here."""
    with_storage, without = set(WITH_STORAGE.split()), set(WITHOUT.split())
    found = families()
    assert sorted(found.keys() - with_storage - without) == []
    wrong = {
        kind for family, kinds in found.items() for kind in kinds if takes_volume_key(kind) is (family in with_storage)
    }
    assert sorted(wrong) == []


@pytest.mark.parametrize("kind", ["ml.m8gd.large", "ml.r8gd.2xlarge", "ml.c6id.xlarge", "ml.x2idn.16xlarge"])
def test_a_d_behind_the_generation_is_a_disk(kind: str) -> None:
    """Families that SageMaker does not have yet are told by their names."""
    assert volume_key(kind, "key") == {}


def test_a_token_counts_as_a_type_with_a_volume() -> None:
    """What is not known at synthesis is encrypted by a key, or refused by AWS; never left alone in silence."""
    assert volume_key("${Token[TOKEN.1]}", "key") == {"VolumeKmsKeyId": "key"}


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
