"""Resource policies of model package groups: permissions of other accounts on a group and its versions.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html (cross-account)
"""

import json

from mlops_local.iam import owner_policies
from mlops_local.sagemaker import resource_store
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.sagemaker.package_versions import describe_group

CHARACTERS = 20480
_MEMBER = "ResourcePolicy"  # member of a group's record that Describe does not return


def put(request: Record) -> Record:
    """PutModelPackageGroupPolicy: replaces the group's policy."""
    # claim: groups-have-resource-policies
    policy, record = request["ResourcePolicy"], describe_group(request)
    if len(policy) > CHARACTERS:
        raise validation(f"a resource policy has at most {CHARACTERS} characters, got {len(policy)}")
    try:
        json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError) as error:
        raise validation(f"Invalid resource policy: {error}") from error
    record[_MEMBER] = policy
    return {"ModelPackageGroupArn": record["ModelPackageGroupArn"]}


def get(request: Record) -> Record:
    """GetModelPackageGroupPolicy."""
    # claim: groups-have-resource-policies
    record = describe_group(request)
    if _MEMBER not in record:
        raise validation(f"Cannot find resource policy for {record['ModelPackageGroupArn']}.")
    return {"ResourcePolicy": record[_MEMBER]}


def delete(request: Record) -> Record:
    """DeleteModelPackageGroupPolicy."""
    # claim: groups-have-resource-policies
    describe_group(request).pop(_MEMBER, None)
    return {}


def policy_of(arn: str) -> str | None:
    """Return the policy of the group that an ARN of a group or version names."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind not in {"model-package-group", "model-package"}:
        return None
    groups = resource_store.store().records["ModelPackageGroup"].values()
    name = rest.partition("/")[0]
    # ARNs are lower case
    found = next((row for row in groups if row["ModelPackageGroupName"].lower() == name.lower()), None)
    return None if found is None else found.get(_MEMBER)


owner_policies.POLICIES["sagemaker"] = policy_of
