"""Recorded resources: schema, identity, replacement."""

import pytest

from mlops_local import recorded

WHERE = "us-east-1:000000000000"
FLOW_LOG = {"ResourceId": "vpc-1", "ResourceType": "VPC", "TrafficType": "ALL", "LogGroupName": "g"}


def test_records_a_flow_log_with_a_stable_identity():
    """The same declaration gives the same id, and another network gives another one."""
    made = recorded.create("AWS::EC2::FlowLog", "Flow", FLOW_LOG, "stack", WHERE)
    assert made == recorded.create("AWS::EC2::FlowLog", "Flow", FLOW_LOG, "stack", WHERE)
    assert made[0].startswith("fl-")
    assert made[1] == {"Id": made[0]}
    moved = {**FLOW_LOG, "ResourceId": "vpc-2"}
    assert recorded.create("AWS::EC2::FlowLog", "Flow", moved, "stack", WHERE)[0] != made[0]
    assert recorded.replaces("AWS::EC2::FlowLog", FLOW_LOG, moved)
    assert not recorded.replaces("AWS::EC2::FlowLog", FLOW_LOG, {**FLOW_LOG, "Tags": [{"Key": "a", "Value": "b"}]})


def test_references_compound_identities_as_cloudformation_does():
    """A scalable target is `resource|dimension|namespace`, a scaling policy its ARN."""
    target = {
        "ResourceId": "endpoint/e/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "ServiceNamespace": "sagemaker",
        "MinCapacity": "1",
        "MaxCapacity": 2,
    }
    physical, _ = recorded.create("AWS::ApplicationAutoScaling::ScalableTarget", "Target", target, "stack", WHERE)
    assert physical == "endpoint/e/variant/AllTraffic|sagemaker:variant:DesiredInstanceCount|sagemaker"
    policy = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling", "ScalingTargetId": physical}
    physical, attributes = recorded.create(
        "AWS::ApplicationAutoScaling::ScalingPolicy", "Policy", policy, "stack", WHERE
    )
    assert physical == attributes["Arn"]
    assert physical.startswith("arn:aws:applicationautoscaling:us-east-1:000000000000:")


def test_fails_with_every_problem_of_the_properties():
    """Missing, unknown and wrong properties are named together."""
    wrong = {"ResourceType": "House", "LogGroup": "g", "MaxAggregationInterval": "soon"}
    with pytest.raises(recorded.SchemaError) as error:
        recorded.validate("AWS::EC2::FlowLog", wrong)
    message = str(error.value)
    assert message.startswith("model validation failed for AWS::EC2::FlowLog: ")
    for part in (
        "'ResourceId' is a required property",
        "'LogGroup' was unexpected",
        "'House' is not one of",
        "'soon' is not",
    ):
        assert part in message


def test_takes_text_for_numbers_and_booleans():
    """CloudFormation passes parameters as text; its schema check takes them."""
    entry = {"NetworkAclId": "a", "Protocol": "6", "RuleAction": "allow", "RuleNumber": "100", "Egress": "true"}
    recorded.validate("AWS::EC2::NetworkAclEntry", {**entry, "CidrBlock": "0.0.0.0/0"})


def test_fails_for_words_where_a_number_belongs():
    """A threshold that is no number is refused, a number as text is taken."""
    policy = {"PolicyName": "p", "PolicyType": "TargetTrackingScaling", "ScalingTargetId": "t"}
    tracking = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
    kind, member = "AWS::ApplicationAutoScaling::ScalingPolicy", "TargetTrackingScalingPolicyConfiguration"
    recorded.validate(kind, {**policy, member: {**tracking, "TargetValue": "70.5"}})
    with pytest.raises(recorded.SchemaError, match=f"#/{member}/TargetValue: 'many' is not of type 'number'"):
        recorded.validate(kind, {**policy, member: {**tracking, "TargetValue": "many"}})


def test_fails_for_a_value_of_an_attribute():
    """An attribute that CloudFormation computes cannot be set."""
    with pytest.raises(recorded.SchemaError, match="#/Id: is read-only"):
        recorded.validate("AWS::EC2::FlowLog", {**FLOW_LOG, "Id": "fl-1"})


def test_knows_the_types_that_the_constructs_use():
    """What only AWS does is recorded; what is executed is not among it."""
    assert {
        "AWS::EC2::FlowLog", "AWS::Glue::TableOptimizer",
        "AWS::Glue::DataQualityRuleset", "AWS::Glue::SecurityConfiguration", "AWS::EC2::NetworkAcl", "AWS::EC2::NetworkAclEntry",
    } <= recorded.types()  # fmt: skip
    assert "AWS::CloudWatch::CompositeAlarm" not in recorded.types()


def test_a_keyword_on_strings_sees_a_boolean_as_its_text() -> None:
    """The schema of PodIdentityAssociation has a smallest length on the boolean ``DisableSessionTags``."""
    properties = {
        "ClusterName": "a",
        "Namespace": "b",
        "ServiceAccount": "c",
        "RoleArn": "d",
        "DisableSessionTags": True,
    }

    recorded.validate("AWS::EKS::PodIdentityAssociation", properties)
    with pytest.raises(recorded.SchemaError, match="ClusterName"):
        recorded.validate("AWS::EKS::PodIdentityAssociation", {**properties, "ClusterName": ""})


def test_an_identity_provider_is_named_by_its_issuer():
    """Trust policies name it, and STS finds it by a token's issuer: the ARN of the service authorization reference."""
    made = recorded.create(
        "AWS::IAM::OIDCProvider", "Provider", {"Url": "https://git.example.com/gitlab"}, "stack", WHERE
    )

    arn = "arn:aws:iam::000000000000:oidc-provider/git.example.com/gitlab"
    assert made == (arn, {"Arn": arn})


@pytest.mark.parametrize("url", ["https://gitlab.corp", "https://gitlab/path", "https://10.0.0.7"])
def test_an_identity_provider_that_aws_cannot_reach_is_refused(url: str):
    """IAM connects to it when it is created (botocore: iam OpenIdIdpCommunicationErrorException), and STS for every token."""
    with pytest.raises(recorded.UnreachableIssuerError, match="OpenIdIdpCommunicationError: IAM cannot connect"):
        recorded.create("AWS::IAM::OIDCProvider", "Provider", {"Url": url}, "stack", WHERE)
