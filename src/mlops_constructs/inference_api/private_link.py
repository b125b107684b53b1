"""Private integration of an API with services on EKS: a VPC link to their load balancers, limited by security groups.

See: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-vpc-links-v2.html
"""

import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_apigatewayv2 as links
from aws_cdk import aws_ec2 as ec2

from constructs import Construct
from mlops_constructs._unit_resources import resource_of
from mlops_constructs.eks_inference import EksInferenceService
from mlops_constructs.inference_api.error_answers import INFERENCE_ID_SOURCE, JSON, service_answers
from mlops_constructs.unit_interface import IBusinessUnit

_HEADER = "integration.request.header."


class PrivateLink(Construct):
    """A VPC link in the network of a unit. Stateless.

    A link without calls for 60 days becomes inactive; the next calls then fail for some minutes.

    Args:
        scope: Parent construct.
        id: Construct id.
        business_unit: Owning business unit, in whose subnets the link is.
        name: Name of the API.
    """

    def __init__(self, scope: Construct, id: str, *, business_unit: IBusinessUnit, name: str) -> None:
        super().__init__(scope, id)
        self._name = name
        self._subnets = business_unit.subnet_ids
        self._group = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=business_unit.vpc, description=f"VPC link of {name}", allow_all_outbound=False
        )
        self._link = links.CfnVpcLink(
            self,
            "Resource",
            name=name,
            subnet_ids=self._subnets,
            security_group_ids=[self._group.security_group_id],
        )

    def open(self, service: EksInferenceService) -> None:
        """Allow the link to reach the listener of a service, and nothing else.

        The rules are resources of this stack, so that the stack of the service does not depend on it.

        Args:
            service: Service on EKS.
        """
        balancer, name = service.load_balancer, service.endpoint_name
        if self.node.try_find_child(f"To-{name}") is not None:
            return
        own, other = self._group.security_group_id, balancer.security_group.security_group_id
        ec2.CfnSecurityGroupEgress(
            self,
            f"To-{name}",
            group_id=own,
            ip_protocol="tcp",
            from_port=balancer.port,
            to_port=balancer.port,
            destination_security_group_id=other,
            description=f"Calls of {name}",
        )
        ec2.CfnSecurityGroupIngress(
            self,
            f"From-{name}",
            group_id=other,
            ip_protocol="tcp",
            from_port=balancer.port,
            to_port=balancer.port,
            source_security_group_id=own,
            description=f"VPC link of {self._name}",
        )

    def connect(self, method: gateway.Method, service: EksInferenceService) -> dict[str, object]:
        """Route a method's integration through the link; return changes that CDK's hash of an API does not cover.

        Args:
            method: Method with an integration of `service_integration`.
            service: Service on EKS.
        """
        resource = resource_of(method, cdk.CfnResource)
        target = service.load_balancer.arn
        # CDK only supports VPC links of the first version
        for name, value in (("Type", "VPC_LINK"), ("Id", self._link.ref)):
            resource.add_property_override(f"Integration.Connection{name}", value)
        resource.add_property_override("Integration.IntegrationTarget", target)
        # a changed subnet replaces the link
        return {method.node.path: [target, *self._subnets]}


def service_integration(
    service: EksInferenceService, *, server_name: str | None, timeout: cdk.Duration, own_server: bool
) -> gateway.Integration:
    """Return the integration of a method with a service on EKS, through the listener for its callers.

    Args:
        service: Service on EKS.
        server_name: DNS name in its certificate; ``None`` without a certificate.
        timeout: Integration timeout.
        own_server: Whether the platform's server serves the model.
    """
    balancer = service.load_balancer
    address = f"http://{balancer.dns_name}" if server_name is None else f"https://{server_name}:{balancer.port}"
    return gateway.Integration(
        type=gateway.IntegrationType.HTTP,
        integration_http_method="POST",
        uri=f"{address}/invocations",
        options=gateway.IntegrationOptions(
            # bodies of other content types would not be validated
            passthrough_behavior=gateway.PassthroughBehavior.NEVER,
            request_templates={JSON: "$input.body"},
            request_parameters={
                # no other headers of callers are passed
                f"{_HEADER}X-Amzn-SageMaker-Inference-Id": INFERENCE_ID_SOURCE,
                f"{_HEADER}Content-Type": f"'{JSON}'",
                f"{_HEADER}Accept": f"'{JSON}'",
            },
            timeout=timeout,
            integration_responses=service_answers(own_server=own_server),
        ),
    )
