"""APIs and console in one stack, as input of the template checkers in addition to the deployed stacks."""

from typing import cast

from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_iam as iam

from constructs import Construct
from examples.pages.console import Shown
from examples.retail.demand_forecasting.eks_stack import DemandForecastingOnEks
from mlops_constructs import (
    EndpointCapacity,
    InferenceApi,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RequestSchema,
)
from mlops_constructs.compliance import acknowledge_all, wildcard_findings

_NAME = "models.example.com"
_REQUEST = RequestSchema.from_file("examples/pages/forecast.schema.json")
_INLINE = [
    f"{pack}-IAMNoInlinePolicy" for pack in ("HIPAA.Security", "NIST.800.53.R4", "NIST.800.53.R5", "PCI.DSS.321")
]


class FrontDoor(Shown):
    """The console of the documentation page, and an API for predictions and jobs with its own domain name."""

    def __init__(self, scope: Construct, id: str, *, image: ModelImage, profile: Profile, certificate_arn: str) -> None:
        super().__init__(scope, id, image=image, profile=profile)
        nightly = ModelEndpoint(
            self,
            "Nightly",
            business_unit=self.unit,
            registry=ModelRegistry(self, "NightlyModels", business_unit=self.unit, name="nightly"),
            name="nightly",
            image=image,
            capacity=EndpointCapacity.asynchronous("ml.m5.large", instance_count=1),
        )
        api = InferenceApi(self, "Api", business_unit=self.unit)
        for model, endpoint in {"forecast": self.endpoint, "nightly": nightly}.items():
            api.add_model(model, endpoint, request=_REQUEST, max_rate=20)
            api.grant_predict(self.on_call, model)
        api.with_domain(_NAME, acm.Certificate.from_certificate_arn(self, "Certificate", certificate_arn))
        for role in (self.reader, self.on_call):
            self._acknowledge(role)

    def _acknowledge(self, role: iam.Role) -> None:
        """Acknowledge the inline policy that the CDK creates for a role's grants, and exactly its wildcards."""
        policy = cast("iam.Policy", role.node.find_child("DefaultPolicy"))
        acknowledge_all(
            policy,
            _INLINE,
            "the CDK writes a role's grants to its inline policy, which has only the permissions of this role",
        )
        acknowledge_all(
            policy,
            wildcard_findings(self.resolve(policy.document)),
            "names of objects, packages, executions, alarms and jobs are not known at deployment; each wildcard ends a prefix of "
            "the unit, except for metrics, costs and alarms of the account, which IAM cannot restrict further or the page lists",
        )


def add_api(stack: DemandForecastingOnEks, *, server_name: str | None) -> None:
    """Connect an API to the service on a cluster, through a VPC link to its load balancer."""
    api = InferenceApi(stack, "Api", business_unit=stack.unit)
    api.add_model("forecast", stack.service, request=_REQUEST, max_rate=20, server_name=server_name)
