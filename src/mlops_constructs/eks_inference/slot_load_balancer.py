"""Internal load balancer of a service: one target group for each of the two slots, and one weighted rule."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import source_conditions
from mlops_constructs._stack_values import stack_values
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.eks_inference.eks_cluster import EksCluster
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.serving import SLOTS
from mlops_runtime.eks.kubernetes_objects import PORT

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
_LOG_DELIVERY = "logdelivery.elasticloadbalancing.amazonaws.com"
# with this tag EKS Auto Mode's own role may register targets: the managed policy AmazonEKSLoadBalancingPolicy
_CLUSTER_TAG = "eks:eks-cluster-name"
# the AWS Load Balancer Controller identifies its resources by this tag
_CONTROLLER_TAG = "elbv2.k8s.aws/cluster"
_PRIORITY = 1
# ports of the listeners that forward to one slot only
_SLOT_PORTS = dict(zip(SLOTS, (8001, 8002), strict=True))
_PREDICTIONS = "/invocations"
_PATHS = ("/ping", _PREDICTIONS, "/v2", "/v2/*")
_FIREWALL = (
    "the load balancer has no public address and accepts only security groups that are listed one by one; rejected: a web "
    "application firewall, whose rules are about browsers and whose price a model would pay by the request"
)
_PLAIN = (
    "a development unit without a certificate, which synthesis warns of; rejected: a self-signed certificate, "
    "which no client would trust. PRODUCTION requires a certificate"
)
_DELETABLE = (
    "it contains no data, and a protected one can be deleted neither by the rollback of a failed creation nor with its stack, when "
    "it no longer serves; rejected: a second deployment only to remove the protection. Termination protection of the "
    "stack rejects a deletion before it starts"
)


class ServiceLoadBalancer(Construct):
    """The load balancer, listeners and target groups between clients and the pods of a service. Stateless.

    The Deploy machine owns the weights of the listener rule: the template only sets their initial values, and no other property of
    that resource changes.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; provides subnets, log bucket and profile.
        cluster: The cluster whose pods are the targets.
        service_name: Name of the service, for log prefixes.
        certificate: Certificate of the listener. Default: none, plain HTTP.
        deregistration_delay: Time that a deregistered pod has to complete its requests. Default: 30 seconds.

    Example:
        >>> balancer = ServiceLoadBalancer(self, "LoadBalancer", business_unit=unit, cluster=cluster,
        ...                                service_name="demand-forecast")
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        cluster: EksCluster,
        service_name: str,
        certificate: acm.ICertificate | None = None,
        deregistration_delay: cdk.Duration | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._unit, self._cluster, self._name = business_unit, cluster, service_name
        self._port = 80 if certificate is None else 443
        self._zones, self._subnet_ids = self._place()
        self._group = self._define_group()
        self._balancer = self._define_balancer()
        delay = cdk.Duration.seconds(30) if deregistration_delay is None else deregistration_delay
        self._slots: dict[str, elbv2.CfnTargetGroup] = {
            "blue": self._define_slot("Blue", "blue", delay),
            "green": self._define_slot("Green", "green", delay),
        }
        self._certificate = certificate
        self._stage: str | None = None
        self._listener = self._define_listener()
        self._rule = self._define_rule()

    @property
    def security_group(self) -> ec2.ISecurityGroup:
        """Security group of the load balancer; it allows no client by default."""
        return self._group

    @property
    def dns_name(self) -> str:
        """DNS name inside the network."""
        return self._balancer.attr_dns_name

    @property
    def arn(self) -> str:
        """ARN of the load balancer."""
        return self._balancer.ref

    @property
    def full_name(self) -> str:
        """The part of its ARN that is a dimension of its metrics."""
        return self._balancer.attr_load_balancer_full_name

    @property
    def rule_arn(self) -> str:
        """ARN of the rule with the weights."""
        return self._rule.attr_rule_arn

    @property
    def rule_hash(self) -> str:
        """Hash of the rule in the template: when it changes, CloudFormation resets the weights to their initial values."""
        return content_hash({"paths": list(_PATHS), "priority": _PRIORITY, "first": SLOTS[0], "stage": self._stage})

    @property
    def target_group_arns(self) -> Mapping[str, str]:
        """ARN of each slot's target group."""
        return {slot: group.attr_target_group_arn for slot, group in self._slots.items()}

    @property
    def target_group_names(self) -> Mapping[str, str]:
        """The part of each target group's ARN that is a dimension of its metrics."""
        return {slot: group.attr_target_group_full_name for slot, group in self._slots.items()}

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of its Availability Zones: pods in other zones receive no requests."""
        return self._zones

    @property
    def port(self) -> int:
        """Port of the listener."""
        return self._port

    def allow_from(self, group: ec2.ISecurityGroup) -> None:
        """Let clients in a security group call the service.

        Args:
            group: The security group.
        """
        self._group.add_ingress_rule(group, ec2.Port.tcp(self._port), f"Callers of {self._name}")

    def answer_stage(self, stage: str) -> None:
        """Handle ``/<stage>/invocations`` as ``/invocations``: API Gateway adds the stage to the path of private integrations.

        The rule changes, so CloudFormation resets the weights, and the Deploy machine restores them.
        See: https://docs.aws.amazon.com/apigateway/latest/developerguide/private-integration.html
        """
        self._stage = stage
        self._rule.conditions = [self._paths(*_PATHS, f"/{stage}{_PREDICTIONS}")]
        rewrite = elbv2.CfnListenerRule.RewriteConfigProperty(regex=f"^/{stage}{_PREDICTIONS}$", replace=_PREDICTIONS)
        self._rule.transforms = [
            elbv2.CfnListenerRule.TransformProperty(
                type="url-rewrite",
                url_rewrite_config=elbv2.CfnListenerRule.RewriteConfigObjectProperty(rewrites=[rewrite]),
            )
        ]

    def open_slots(self) -> Mapping[str, str]:
        """Let the unit's functions call each slot separately, by a listener of its own; return the URLs.

        Clients cannot reach these listeners: only the unit's own security group is allowed.
        """
        first, last = min(_SLOT_PORTS.values()), max(_SLOT_PORTS.values())
        functions = self._unit.security_group
        self._group.add_ingress_rule(functions, ec2.Port.tcp_range(first, last), f"Golden requests to {self._name}")
        # the group may belong to another stack, or be imported
        ec2.CfnSecurityGroupEgress(
            self,
            "SlotEgress",
            group_id=functions.security_group_id,
            ip_protocol="tcp",
            from_port=first,
            to_port=last,
            destination_security_group_id=self._group.security_group_id,
            description=f"Golden requests to {self._name}",
        )
        protocol = "http" if self._certificate is None else "https"
        for slot, port in _SLOT_PORTS.items():
            forward = elbv2.CfnListener.ActionProperty(
                type="forward", target_group_arn=self._slots[slot].attr_target_group_arn
            )
            self._listen(f"{slot.capitalize()}Listener", port, forward)
        return {slot: f"{protocol}://{self.dns_name}:{port}" for slot, port in _SLOT_PORTS.items()}

    def _place(self) -> tuple[tuple[str, ...], list[str]]:
        """Return the zones and ids of the load balancer's subnets: the cluster's ``load_balancer_subnets``, or else the unit's.

        Zones may be tokens. CDK itself rejects a subnet that was imported without its zone.
        """
        own = self._cluster.load_balancer_subnets
        if own is not None:
            return tuple(own), list(own.values())
        return tuple(self._unit.availability_zones), self._unit.subnet_ids

    def _define_group(self) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=self._unit.vpc,
            description=f"Load balancer of {self._name}",
            allow_all_outbound=False,
        )
        pods = ec2.SecurityGroup.from_security_group_id(
            self, "Pods", self._cluster.pod_security_group_id, mutable=False
        )
        group.add_egress_rule(pods, ec2.Port.tcp(PORT), "Pods of the service")
        ec2.CfnSecurityGroupIngress(
            self,
            "PodIngress",
            group_id=self._cluster.pod_security_group_id,
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            source_security_group_id=group.security_group_id,
            description=f"Load balancer of {self._name}",
        )
        return group

    def _define_balancer(self) -> elbv2.CfnLoadBalancer:
        logs, prefix = self._unit.access_logs, f"load-balancer/{self._name}"
        attributes = {
            "access_logs.s3.enabled": "true",
            "access_logs.s3.bucket": logs.bucket_name,
            "access_logs.s3.prefix": prefix,
            "deletion_protection.enabled": "false",
            "routing.http.drop_invalid_header_fields.enabled": "true",
            "routing.http.desync_mitigation_mode": "strictest",
            # SageMaker's limit for a request
            "idle_timeout.timeout_seconds": "60",
        }
        balancer = elbv2.CfnLoadBalancer(
            self,
            "Resource",
            type="application",
            scheme="internal",
            subnets=self._subnet_ids,
            security_groups=[self._group.security_group_id],
            load_balancer_attributes=[
                elbv2.CfnLoadBalancer.LoadBalancerAttributeProperty(key=key, value=value)
                for key, value in attributes.items()
            ],
        )
        account = stack_values(self).account
        added = logs.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["s3:PutObject"],
                resources=[logs.arn_for_objects(f"{prefix}/AWSLogs/{account}/*")],
                # the path contains the account: a load balancer writes only below that of its owner
                principals=[iam.ServicePrincipal(_LOG_DELIVERY, conditions=source_conditions(self, _LOG_DELIVERY))],
            )
        )
        if added.policy_dependable is not None:
            # the permission to deliver logs is checked when they are enabled
            balancer.node.add_dependency(added.policy_dependable)
        acknowledge_family(balancer, "ALBWAFEnabled", _FIREWALL)
        acknowledge_family(balancer, "ELBDeletionProtectionEnabled", _DELETABLE)
        return balancer

    def _define_slot(self, id: str, slot: str, delay: cdk.Duration) -> elbv2.CfnTargetGroup:
        group = elbv2.CfnTargetGroup(
            self,
            id,
            target_type="ip",
            protocol="HTTP",
            protocol_version="HTTP1",
            port=PORT,
            vpc_id=self._unit.vpc.vpc_id,
            health_check_enabled=True,
            health_check_path="/ping",
            health_check_protocol="HTTP",
            health_check_interval_seconds=10,
            # SageMaker's timeout for the health check
            health_check_timeout_seconds=2,
            healthy_threshold_count=2,
            unhealthy_threshold_count=3,
            matcher=elbv2.CfnTargetGroup.MatcherProperty(http_code="200"),
            target_group_attributes=[
                elbv2.CfnTargetGroup.TargetGroupAttributeProperty(key=key, value=value)
                for key, value in {
                    "deregistration_delay.timeout_seconds": str(int(delay.to_seconds(integral=False))),
                    "stickiness.enabled": "false",
                    "load_balancing.algorithm.type": "least_outstanding_requests",
                }.items()
            ],
        )
        cdk.Tags.of(group).add("mlops:slot", slot)
        cdk.Tags.of(group).add(_CLUSTER_TAG if self._cluster.auto_mode else _CONTROLLER_TAG, self._cluster.name)
        return group

    def _define_listener(self) -> elbv2.CfnListener:
        nothing = elbv2.CfnListener.ActionProperty(
            type="fixed-response",
            fixed_response_config=elbv2.CfnListener.FixedResponseConfigProperty(
                status_code="404", content_type="text/plain", message_body="no such path"
            ),
        )
        return self._listen("Listener", self._port, nothing)

    def _listen(self, id: str, port: int, action: elbv2.CfnListener.ActionProperty) -> elbv2.CfnListener:
        certificate = self._certificate
        listener = elbv2.CfnListener(
            self,
            id,
            load_balancer_arn=self._balancer.ref,
            port=port,
            protocol="HTTP" if certificate is None else "HTTPS",
            ssl_policy=None if certificate is None else "ELBSecurityPolicy-TLS13-1-2-2021-06",
            certificates=None
            if certificate is None
            else [elbv2.CfnListener.CertificateProperty(certificate_arn=certificate.certificate_arn)],
            default_actions=[action],
        )
        if certificate is None:
            for rule in ("ALBHttpToHttpsRedirection", "ELBv2ACMCertificateRequired"):
                acknowledge_family(listener, rule, _PLAIN)
        return listener

    def _define_rule(self) -> elbv2.CfnListenerRule:
        groups = [
            elbv2.CfnListenerRule.TargetGroupTupleProperty(
                target_group_arn=self._slots[slot].attr_target_group_arn, weight=100 if slot == SLOTS[0] else 0
            )
            for slot in SLOTS
        ]
        rule = elbv2.CfnListenerRule(
            self,
            "Rule",
            listener_arn=self._listener.attr_listener_arn,
            priority=_PRIORITY,
            conditions=[self._paths(*_PATHS)],
            actions=[
                elbv2.CfnListenerRule.ActionProperty(
                    type="forward",
                    forward_config=elbv2.CfnListenerRule.ForwardConfigProperty(
                        target_groups=groups,
                        target_group_stickiness_config=elbv2.CfnListenerRule.TargetGroupStickinessConfigProperty(
                            enabled=False
                        ),
                    ),
                )
            ],
        )
        # CloudFormation resets the weights of a rule with any change, and a tag may change anywhere in the app
        rule.add_property_deletion_override("Tags")
        return rule

    @staticmethod
    def _paths(*patterns: str) -> elbv2.CfnListenerRule.RuleConditionProperty:
        # a rule may have five values
        return elbv2.CfnListenerRule.RuleConditionProperty(
            field="path-pattern",
            path_pattern_config=elbv2.CfnListenerRule.PathPatternConfigProperty(values=list(patterns)),
        )
