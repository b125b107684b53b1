"""Every call of a role has an action that IAM evaluates, including Lambda's and unknown calls."""

import pytest
from botocore.exceptions import ClientError

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
