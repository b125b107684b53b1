"""What a platform hands over: names that do not change within a version."""

import re

import pytest

from mlops_runtime.contracts.platform import PLATFORM_PARAMETERS, PlatformParameter, platform_parameter

EXAMPLES = {
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": "subnet-0123456789abcdef0",
    "availability_zones": "eu-west-1a",
    "key_arn": "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef",
    "approver_role_arn": "arn:aws-cn:iam::111122223333:role/people/Approver",
    "cluster_name": "platform",
    "cluster_security_group_id": "sg-0123456789abcdef0",
}


def test_version_one_has_these_names() -> None:
    """They stand in estates of others: a change is a new version."""
    assert [platform_parameter("retail", p.field) for p in PLATFORM_PARAMETERS] == [
        f"/mlops-platform/retail/1/{field}" for field in EXAMPLES
    ]


@pytest.mark.parametrize("parameter", PLATFORM_PARAMETERS, ids=lambda parameter: parameter.field)
def test_each_form_admits_its_example_and_no_other(parameter: PlatformParameter) -> None:
    """A pattern is held against the whole value."""
    pattern, field = parameter.pattern, parameter.field

    assert re.fullmatch(pattern, EXAMPLES[field])
    assert not any(re.fullmatch(pattern, f"{EXAMPLES[field]}{wrong}") for wrong in (" ", "\n", '"'))
    others = [value for other, value in EXAMPLES.items() if other != field]
    assert not [value for value in others if re.fullmatch(pattern, value)] or field == "cluster_name"
