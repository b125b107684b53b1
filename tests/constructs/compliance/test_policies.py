"""Statements of the policies in templates."""

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.policies import identity_statements, policies_of, resource_statements

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
DENY = ALLOW | {"Effect": "Deny"}
BODY = {
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "Policies": [{"PolicyDocument": {"Statement": [ALLOW, DENY]}}],
                "ManagedPolicyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess", {"Ref": "Managed"}],
            },
        },
        "Managed": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": {"Statement": ALLOW}}},
        "Inline": {
            "Type": "AWS::IAM::Policy",
            "Properties": {"Roles": [{"Ref": "Role"}], "PolicyDocument": {"Statement": [ALLOW]}},
        },
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "BucketPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": {"Statement": [ALLOW | {"Principal": "*"}]}},
        },
    }
}


def test_a_roles_policies_are_inline_attached_and_of_its_own() -> None:
    """Yields each Allow statement once and no Deny."""
    assembly = Assembly({"S": BODY})
    (role,) = assembly.of("AWS::IAM::Role")

    assert sorted(found.resource.logical_id for found in policies_of(assembly, role)) == ["Inline", "Managed", "Role"]
    assert len(list(identity_statements(assembly))) == 3


def test_a_resource_policy_protects_its_resource() -> None:
    """The statement belongs to the unit's bucket, not to the policy resource."""
    ((statement, owner),) = resource_statements(Assembly({"S": BODY}))

    assert owner.logical_id == "Bucket"
    assert statement.principals("AWS") == ["*"]
    assert statement.principals("Service") == []
    assert statement.actions == ["s3:getobject"]
