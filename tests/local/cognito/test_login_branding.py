"""Managed login shows a page only for app clients with a branding."""

import json
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from tests.local.cognito.conftest import App


def test_a_client_without_branding_has_no_page(make_app: Callable[..., App]) -> None:
    """On AWS a stack without branding deploys without an error; the classic pages need none."""
    bare, classic = make_app(branded=False), make_app(version=1, branded=False)
    before = bare.authorize()
    client, where = bare.cloud.client("cognito-idp"), {"UserPoolId": bare.pool, "ClientId": bare.id}
    made = client.create_managed_login_branding(**where, UseCognitoProvidedValues=True)["ManagedLoginBranding"]
    found = client.describe_managed_login_branding_by_client(**where)["ManagedLoginBranding"]

    assert (before.status, "Login pages unavailable" in before.body) == (403, True)
    assert (bare.authorize().status, classic.authorize().status) == (200, 200)
    assert found["ManagedLoginBrandingId"] == made["ManagedLoginBrandingId"]
    with pytest.raises(ClientError, match="ManagedLoginBrandingExistsException"):
        client.create_managed_login_branding(**where, UseCognitoProvidedValues=True)


def test_a_template_brands_a_client(make_app: Callable[..., App], unique: str) -> None:
    """Its stack deletes it too."""
    app = make_app(branded=False)
    properties = {"UserPoolId": app.pool, "ClientId": app.id, "UseCognitoProvidedValues": True}
    template = {"Resources": {"B": {"Type": "AWS::Cognito::ManagedLoginBranding", "Properties": properties}}}
    stacks = app.cloud.client("cloudformation")

    stacks.create_stack(StackName=unique, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    shown = app.authorize().status
    stacks.delete_stack(StackName=unique)
    stacks.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})

    assert (shown, app.authorize().status) == (200, 403)
