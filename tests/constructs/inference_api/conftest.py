"""A unit with a model that an API may serve, and the schema of its requests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    InferenceApi,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Network,
    Profile,
    RequestSchema,
)
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.inference_api.request_promise import request_schema

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "1" * 64)
SIGNATURE = ModelSignature(
    inputs=(
        SignatureColumn(name="price", type="number"),
        SignatureColumn(name="store", type="category", categories=("a", "b")),
        SignatureColumn(name="promo", type="number", nullable=True),
    ),
    output="units",
)


class Door:
    """A stack with a unit and a model; `api` adds an API."""

    def __init__(self, folder: Path, profile: Profile = Profile.PRODUCTION) -> None:
        self.app = cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}, outdir=str(folder / "cdk.out"))
        self.stack = cdk.Stack(self.app, "Demand")
        network = Network.from_shared_vpc(vpc_id="vpc-1", availability_zones=["a", "b"], subnet_ids=["s-1", "s-2"])
        self.unit = BusinessUnit(
            self.stack, "Unit", name="demand", owner="ann", cost_center="42", profile=profile, network=network
        )
        self.registry = ModelRegistry(self.stack, "Registry", business_unit=self.unit, name="forecast")
        self.endpoint = self.model("Endpoint", name="forecast")
        self.file = folder / "forecast.schema.json"
        self.file.write_text(json.dumps(request_schema(SIGNATURE, max_rows=50)))
        self.request = RequestSchema.from_file(self.file)

    def model(self, construct_id: str, **changes: Any) -> ModelEndpoint:
        """Define an endpoint with changed arguments."""
        return ModelEndpoint(
            self.stack,
            construct_id,
            business_unit=self.unit,
            registry=self.registry,
            image=IMAGE,
            **{"capacity": EndpointCapacity.instances("ml.m5.large", instance_count=2), **changes},
        )

    def api(self, construct_id: str = "Api", **changes: Any) -> InferenceApi:
        """Define an API without a model."""
        return InferenceApi(self.stack, construct_id, business_unit=self.unit, **changes)

    def api_with_model(self, **changes: Any) -> InferenceApi:
        """Define an API with the model ``forecast``."""
        api = self.api(**changes)
        api.add_model("forecast", self.endpoint, request=self.request, max_rate=20)
        return api

    @property
    def template(self) -> dict[str, Any]:
        """The template; nothing can be added to the stack afterwards."""
        return dict(Template.from_stack(self.stack).to_json())

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a type, by logical id."""
        found = self.template["Resources"].items()
        return {name: each.get("Properties", {}) for name, each in found if each["Type"] == kind}


@pytest.fixture(scope="session")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Door:
    """A shared stack for invalid arguments."""
    return Door(tmp_path_factory.mktemp("refusing"))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A stack of the test's own."""
    return Door(tmp_path)


@pytest.fixture
def make_door(tmp_path: Path) -> Callable[..., Door]:
    """Return a function that defines such stacks."""

    def make(name: str, **changes: Any) -> Door:
        (tmp_path / name).mkdir()
        return Door(tmp_path / name, **changes)

    return make


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Door:
    """A unit whose API accepts requests signed with IAM, with the defaults."""
    made = Door(tmp_path_factory.mktemp("signed"))
    made.api_with_model()
    return made
