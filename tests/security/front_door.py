"""A unit with two endpoints, an API for predictions and jobs, and a console, which `front_door_trip` uses."""

import json
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from examples.pages.console import Shown

from constructs import Construct
from mlops_constructs import (
    Access,
    EndpointCapacity,
    InferenceApi,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RequestSchema,
)
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.inference_api.request_promise import request_schema

STACK = "Shown"
# endpoints, by prefix of the logical ids of their roles
ENDPOINTS = {"Nightly": "shown-nightly", "": "shown-forecast"}
# roles of interest: other targets cover those of a unit without API and console
ASKED = r"^(Api|Console|Reader|OnCall|Shop|RegistryApprover|Nightly(Role|Models))"
# roles of people and programs, in which grants of several constructs overlap
COMPOSED = r"^(Reader|OnCall|Shop)"
# of 64-bit floats, so that the schema allows a number that the model rejects
_SIGNATURE = ModelSignature(inputs=(SignatureColumn(name="x", type="number"),), output="y", passes="values")


class FrontDoor(Shown):
    """The page's console, and an API for predictions and jobs, for callers who sign and for users with a token."""

    def __init__(self, scope: Construct, id: str, *, image: ModelImage, profile: Profile, schema: Path) -> None:
        super().__init__(scope, id, image=image, profile=profile)
        registry = ModelRegistry(self, "NightlyModels", business_unit=self.unit, name="nightly")
        nightly = ModelEndpoint(
            self,
            "Nightly",
            business_unit=self.unit,
            registry=registry,
            name="nightly",
            image=image,
            capacity=EndpointCapacity.asynchronous("ml.m5.large", instance_count=1),
        )
        for role in (self.reader, self.on_call):
            nightly.rollout.grant_read(role)
        api = InferenceApi(
            self,
            "Api",
            business_unit=self.unit,
            access=Access.both(self.console.user_pool, scope="console/use"),
        )
        self.shop = iam.Role(self, "Shop", assumed_by=iam.AccountRootPrincipal())
        for name, endpoint in {"forecast": self.endpoint, "nightly": nightly}.items():
            api.add_model(name, endpoint, request=RequestSchema.from_file(schema), max_rate=20)
            api.grant_predict(self.shop, name)
        parts = {
            "ApiId": api.rest_api.rest_api_id,
            "ShopRole": self.shop.role_arn,
            "NightlyApprover": registry.approver_role.role_arn,
            "NightlyTable": nightly.rollout.table.table_name,
            "NightlyMachine": nightly.rollout.machine.state_machine_arn,
        }
        for name, value in parts.items():
            cdk.CfnOutput(self, name, value=value)


def define(app: cdk.App, folder: Path, *, digest: str) -> FrontDoor:
    """Define the stack in an app.

    Args:
        app: The app.
        folder: Destination of the models' request schema.
        digest: Digest of the runtime's image.
    """
    schema = folder / "doubled.schema.json"
    schema.write_text(json.dumps(request_schema(_SIGNATURE, max_rows=100)))
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=digest)
    return FrontDoor(app, STACK, profile=Profile.DEVELOPMENT, image=image, schema=schema)
