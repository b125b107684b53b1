"""Permissions required by a request, from the request alone."""

from dataclasses import replace
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from mlops_local.iam import request
from mlops_local.iam.request import Call, Check

ACCOUNT = "000000000000"
PREFIX = "arn:aws:eks:us-east-1:123456789012:"
ROLE = "arn:aws:iam::123456789012:role/team/bootstrap"
ENTRY = f"{PREFIX}access-entry/retail/role/123456789012/bootstrap/00000000-0000-0000-0000-000000000000"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:other"
MAPPING = "b248abe1-876f-4f04-8187-2f66641898c1"
# what MiniStack serves to any signer, or checks as another operation
CALLS = {
    "InvokeWithResponseStream": ("InvokeFunction", {"FunctionName": "other"}),
    "InvokeAsync": ("InvokeAsync", {"FunctionName": "other", "InvokeArgs": b"{}"}),
    "DeleteEventSourceMapping": ("DeleteEventSourceMapping", {"UUID": MAPPING}),
    "UpdateEventSourceMapping": ("UpdateEventSourceMapping", {"UUID": MAPPING, "FunctionName": "other"}),
    "GetEventSourceMapping": ("GetEventSourceMapping", {"UUID": MAPPING}),
    "UpdateFunctionEventInvokeConfig": ("UpdateFunctionEventInvokeConfig", {"FunctionName": "other"}),
    "GetFunctionConcurrency": ("GetFunctionConcurrency", {"FunctionName": "other"}),
    "DeleteFunctionConcurrency": ("DeleteFunctionConcurrency", {"FunctionName": "other"}),
    "DeleteFunctionUrlConfig": ("DeleteFunctionUrlConfig", {"FunctionName": "other"}),
    "DeleteAlias": ("DeleteAlias", {"FunctionName": "other", "Name": "live"}),
    "DeleteLayerVersion": ("DeleteLayerVersion", {"LayerName": "shared", "VersionNumber": 1}),
    "RemovePermission": ("RemovePermission", {"FunctionName": "other", "StatementId": "a"}),
}


def call(service, action, body=None, **rest):
    """Return a call in the tests' account."""
    return Call(service, action, rest.pop("resource", "*"), "us-east-1", ACCOUNT, body or {}, **rest)


def test_checks_a_catalog_call_on_table_database_and_catalog():
    """Glue requires all three: https://docs.aws.amazon.com/glue/latest/dg/glue-specifying-resource-arns.html."""
    prefix = f"arn:aws:glue:us-east-1:{ACCOUNT}:"
    found = request.resources(call("glue", "glue:GetTable", {"DatabaseName": "d", "Name": "t"}))
    assert found == [f"{prefix}table/d/t", f"{prefix}database/d", f"{prefix}catalog"]
    created = request.resources(call("glue", "glue:CreateTable", {"DatabaseName": "d", "TableInput": {"Name": "t"}}))
    assert created == found
    assert request.resources(call("glue", "glue:GetDatabase", {"Name": "d"})) == found[1:]


def test_checks_log_calls_on_the_stream():
    """The ARN ends in the stream's name, empty if the request has none."""
    arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:g:log-stream:"
    body = {"logGroupName": "g", "logStreamName": "s"}
    assert request.resources(call("logs", "logs:PutLogEvents", body)) == [f"{arn}s"]
    assert request.resources(call("logs", "logs:CreateLogGroup", {"logGroupName": "g"})) == [arn]


@pytest.mark.parametrize(
    ("action", "body", "expected"),
    [
        ("DisableRule", {"Name": "r"}, "rule/r"),
        ("PutTargets", {"Rule": "r", "EventBusName": "default"}, "rule/r"),
        ("DeleteRule", {"Name": "r", "EventBusName": "unit"}, "rule/unit/r"),
        ("PutRule", {"Name": "r", "EventBusName": f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/unit"}, "rule/unit/r"),
        ("DescribeEventBus", {"Name": "unit"}, "event-bus/unit"),
        ("DescribeEventBus", {}, "event-bus/default"),
    ],
)
def test_checks_calls_of_eventbridge_on_the_rule_or_the_bus(action, body, expected):
    """A rule of the default bus has no bus in its ARN.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    """
    found = request.resources(call("events", f"events:{action}", body))
    assert found == [f"arn:aws:events:us-east-1:{ACCOUNT}:{expected}"]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (
            call("monitoring", "cloudwatch:PutMetricData", {"Namespace": "MLOps/demand"}),
            {"cloudwatch:namespace": "MLOps/demand"},
        ),
        (
            call("monitoring", "cloudwatch:PutMetricData", params={"Namespace": ["MLOps/demand"]}),
            {"cloudwatch:namespace": "MLOps/demand"},
        ),
        (
            call("events", "events:PutEvents", {"Entries": [{"Source": "mlops.demand", "DetailType": "x"}]}),
            {"events:source": "mlops.demand", "events:detail-type": "x"},
        ),
        (
            call("kms", "kms:Decrypt", {"EncryptionContext": {"a": "b"}}),
            {"kms:CallerAccount": ACCOUNT, "kms:EncryptionContextKeys": ["a"], "kms:EncryptionContext:a": "b"},
        ),
        (
            call("kms", "kms:Sign", {"MessageType": "RAW", "SigningAlgorithm": "ECDSA_SHA_256"}),
            {"kms:CallerAccount": ACCOUNT, "kms:MessageType": "RAW", "kms:SigningAlgorithm": "ECDSA_SHA_256"},
        ),
        (call("s3", "s3:PutObject", headers={"if-none-match": "*"}), {"s3:if-none-match": "*"}),
        (call("s3", "s3:PutObject"), {}),
        (call("s3", "s3:ListBucket", params={"list-type": ["2"], "prefix": ["models/"]}), {"s3:prefix": "models/"}),
    ],
)
def test_computes_condition_keys(described, expected):
    """Each service's keys come from its own request."""
    assert request.context(described) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"Key": {"endpoint": {"S": "e"}, "other": {"S": "o"}}},
        {"Item": {"other": {"S": "o"}, "endpoint": {"S": "e"}}},
        {"KeyConditionExpression": "endpoint = :e AND other > :o", "ExpressionAttributeValues": {":e": {"S": "e"}}},
        {
            "KeyConditionExpression": "#k = :e",
            "ExpressionAttributeNames": {"#k": "endpoint"},
            "ExpressionAttributeValues": {":e": {"S": "e"}},
        },
    ],
)
def test_finds_the_leading_key_of_items_and_queries(body):
    """`dynamodb:LeadingKeys` is the partition key's value, wherever the request contains it."""
    described = call("dynamodb", "dynamodb:UpdateItem", body, partition_key="endpoint")
    assert request.context(described) == {"dynamodb:LeadingKeys": ["e"]}
    assert request.context(replace(described, partition_key=None)) == {}


@pytest.mark.parametrize(
    "items",
    [
        {"t": {"Keys": [{"pk": {"S": "b"}}, {"pk": {"S": "a"}}], "ConsistentRead": True}},
        {"t": [{"PutRequest": {"Item": {"pk": {"S": "a"}}}}, {"DeleteRequest": {"Key": {"pk": {"S": "b"}}}}]},
    ],
)
def test_a_batch_names_its_table_and_all_of_its_keys(items):
    """BatchGetItem and BatchWriteItem are checked on the table, with each partition key as a leading key.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    described = replace(call("dynamodb", "dynamodb:BatchGetItem", {"RequestItems": items}), partition_key="pk")
    assert request.resources(described) == ["arn:aws:dynamodb:us-east-1:000000000000:table/t"]
    assert request.context(described) == {"dynamodb:LeadingKeys": ["a", "b"]}


def test_asks_for_the_roles_that_a_call_passes_and_the_tags_it_sets():
    """`iam:PassRole` has the receiving service; tagging at creation requires AddTags with the tags."""
    body = {"TrainingJobName": "t", "RoleArn": "arn:r", "Tags": [{"Key": "unit", "Value": "demand"}]}
    assert request.dependents(call("sagemaker", "sagemaker:CreateTrainingJob", body)) == [
        Check("iam:PassRole", "arn:r", {"iam:PassedToService": "sagemaker.amazonaws.com"}),
        Check(
            "sagemaker:AddTags",
            f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/t",
            {"aws:RequestTag/unit": "demand", "aws:TagKeys": ["unit"]},
        ),
    ]
    machine = call("states", "states:CreateStateMachine", {"roleArn": "arn:m"})
    assert request.dependents(machine) == [
        Check("iam:PassRole", "arn:m", {"iam:PassedToService": "states.amazonaws.com"})
    ]
    targets = call("events", "events:PutTargets", {"Targets": [{"Arn": "q"}, {"Arn": "b", "RoleArn": "arn:e"}]})
    assert [check.resource for check in request.dependents(targets)] == ["arn:e"]


def test_names_the_endpoint_of_an_invocation_from_the_path():
    """The path of the runtime API has the endpoint's name."""
    described = call("sagemaker", "sagemaker:InvokeEndpoint", path="/endpoints/demand-forecast/invocations")
    assert request.resources(described) == [f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/demand-forecast"]


def test_what_a_model_is_asked_has_no_members():
    """The payload of InvokeEndpoint sets no condition key; SageMaker's API is recognized by its target header.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """
    path = "/endpoints/demand-forecast/invocations"
    assert request.is_content("sagemaker", path, {})
    assert not request.is_content("sagemaker", "/", {"x-amz-target": "SageMaker.CreateModel"})
    assert request.is_content("s3", "/bucket/key", {})
    assert not request.is_content("dynamodb", "/", {})


def test_scalable_targets_are_told_apart_by_condition_keys():
    """A request has no target id; service namespace and dimension are condition keys.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsapplicationautoscaling.html
    """
    body = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    described = call("application-autoscaling", "application-autoscaling:RegisterScalableTarget", body)
    prefix = f"arn:aws:application-autoscaling:us-east-1:{ACCOUNT}:"
    assert request.resources(described) == [f"{prefix}scalable-target/*"]
    assert request.context(described) == {
        "application-autoscaling:service-namespace": "sagemaker",
        "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
    }
    listing = replace(described, action="application-autoscaling:DescribeScalableTargets")
    assert request.resources(listing) == ["*"]


def test_a_load_balancer_is_changed_by_the_thing_that_is_named():
    """Described resources have no resource type.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
    """
    rule = f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:listener-rule/app/demand/1/2/3"
    named = {"RuleArn": [rule], "Actions.member.1.Type": ["forward"]}
    changed = call("elasticloadbalancing", "elasticloadbalancing:ModifyRule", params=named)
    assert request.resources(changed) == [rule]
    assert request.resources(replace(changed, action="elasticloadbalancing:DescribeRules")) == ["*"]
    assert request.resources(replace(changed, params={})) == ["*"]


@pytest.mark.parametrize(
    ("action", "body", "expected"),
    [
        ("DescribeAlarms", {"AlarmNames": ["a", "b"]}, ["alarm:a", "alarm:b"]),
        ("DescribeAlarms", {}, ["alarm:*"]),
        ("DescribeAlarmHistory", {"AlarmName": "a"}, ["alarm:a"]),
        ("DescribeAlarmHistory", {"HistoryItemType": "StateUpdate"}, ["alarm:*"]),
        ("DescribeAlarmHistory", {"AlarmTypes": ["CompositeAlarm"]}, ["*"]),
        ("DescribeAlarms", {"AlarmNames": ["a"], "AlarmTypes": ["CompositeAlarm"]}, ["*"]),
    ],
)
def test_alarms_are_described_by_name_or_all(action, body, expected):
    """Metric alarms; composite ones need permission on all: API_DescribeAlarmHistory of CloudWatch's API reference."""
    found = request.resources(call("monitoring", f"cloudwatch:{action}", body))
    assert [arn.removeprefix(f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:") for arn in found] == expected


def test_a_transaction_is_evaluated_by_member():
    """Members of one kind on one table are combined with all their keys; other calls stay as they are."""
    items = [
        {"ConditionCheck": {"TableName": "t", "Key": {"entity": {"S": "#erased/a"}}, "ConditionExpression": "x"}},
        {"Put": {"TableName": "t", "Item": {"entity": {"S": "a/1"}, "n": {"N": "1"}}}},
        {"Put": {"TableName": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t", "Item": {"entity": {"S": "a/2"}}}},
        {"Delete": {"TableName": "u", "Key": {"entity": {"S": "b"}}}},
    ]
    described = call("dynamodb", "dynamodb:TransactWriteItems", {"TransactItems": items}, partition_key="entity")
    arn = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/"
    assert [
        (each.action, request.resources(each), request.context(each)["dynamodb:LeadingKeys"])
        for each in request.actions(described)
    ] == [
        ("dynamodb:ConditionCheckItem", [f"{arn}t"], ["#erased/a"]),
        ("dynamodb:PutItem", [f"{arn}t"], ["a/1", "a/2"]),
        ("dynamodb:DeleteItem", [f"{arn}u"], ["b"]),
    ]
    other = call("dynamodb", "dynamodb:PutItem", {"TableName": "t"})
    assert request.actions(other) == [other]


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/clusters/retail", f"{PREFIX}cluster/retail"),
        ("/clusters/retail/access-entries", f"{PREFIX}cluster/retail"),
        ("/clusters/retail/pod-identity-associations", f"{PREFIX}cluster/retail"),
        (f"/clusters/retail/access-entries/{quote(ROLE, safe='')}", ENTRY),
        (f"/clusters/retail/access-entries/{ROLE}/access-policies", ENTRY),
        ("/clusters", "*"),
        ("/tags/x", "*"),
    ],
)
def test_the_path_names_the_resource(path: str, resource: str) -> None:
    """An access entry has the role's name without the role's path."""
    assert request.eks_resources(path, PREFIX) == [resource]


def test_the_body_has_the_condition_keys() -> None:
    """The entry's principal and groups; the policy and its access scope."""
    assert request.eks_context({"principalArn": ROLE, "kubernetesGroups": ["a"]}) == {
        "eks:principalArn": ROLE,
        "eks:kubernetesGroups": ["a"],
    }
    assert request.eks_context({"policyArn": "p", "accessScope": {"type": "namespace", "namespaces": ["demand"]}}) == {
        "eks:policyArn": "p",
        "eks:accessScope": "namespace",
        "eks:namespaces": ["demand"],
    }
    assert request.eks_context({}) == {}


@pytest.mark.parametrize("operation", CALLS)
def test_a_role_without_rights_makes_no_call_of_lambda(make_role, acting_as, operation):
    """Each operation is checked as its action in the service authorization reference."""
    action, arguments = CALLS[operation]
    with pytest.raises(ClientError, match=f"not authorized to perform: lambda:{action} on resource: arn:aws:lambda"):
        acting_as(make_role())("lambda")._make_api_call(operation, arguments)


def test_a_right_to_one_operation_is_no_right_to_its_neighbour(make_role, acting_as, allow):
    """The same path with another method is another action."""
    client = acting_as(make_role(allow("lambda:PutFunctionConcurrency", resource=FUNCTION)))("lambda")
    with pytest.raises(ClientError, match="lambda:DeleteFunctionConcurrency on resource"):
        client.delete_function_concurrency(FunctionName="other")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=1)


def test_what_nobody_knows_is_denied_to_roles(make_role, acting_as, allow):
    """An unknown path is covered by a permission for everything, not by one for the service's actions."""
    known = acting_as(make_role(allow("lambda:GetFunction", "lambda:InvokeFunction")))
    everything = acting_as(make_role(allow("*")))
    answers = {}
    for name, act in {"known": known, "everything": everything}.items():
        client = act("lambda")
        client.meta.events.register("before-call.lambda.GetFunction", _elsewhere)
        with pytest.raises(ClientError) as error:
            client.get_function(FunctionName="other")
        answers[name] = error.value.response["Error"]["Code"]
    assert answers["known"] == "AccessDeniedException"
    assert answers["everything"] != "AccessDeniedException"


def _elsewhere(params, **_):
    params["url"] = params["url"].replace("/2015-03-31/functions/other", "/2015-03-31/no-such-thing/other")
    params["url_path"] = "/2015-03-31/no-such-thing/other"
