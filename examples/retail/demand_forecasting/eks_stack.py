"""The same unit with its model on a cluster: features, retraining, monitor and alarms are the same as with SageMaker."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm

from constructs import Construct
from examples.retail.demand_forecasting import declaration
from examples.retail.outputs import define_outputs
from mlops_constructs import (
    Approval,
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EksCapacity,
    EksCluster,
    EksInferenceService,
    EksTenant,
    FeatureStore,
    GuardPolicy,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    Network,
    Profile,
    RetrainingPipeline,
    RolloutChecks,
    RolloutPolicy,
    TrainingJob,
)

WEEK, MONTH = cdk.Duration.days(7), cdk.Duration.days(28)


class ClusterAttributes(TypedDict):
    """Attributes of the cluster, from ``aws eks describe-cluster``."""

    name: str
    security_group_id: str
    subnet_cidrs: Sequence[str]
    load_balancer_subnets: Mapping[str, str] | None


def cluster_attributes(context: Mapping[str, object] | None) -> ClusterAttributes:
    """Return the attributes in an app's context; missing ones are empty, and the cluster reports all of them at once."""
    known = {} if context is None else context
    cidrs, own = known.get("subnet_cidrs", ()), known.get("load_balancer_subnets")
    return {
        "name": str(known.get("name", "")),
        "security_group_id": str(known.get("security_group_id", "")),
        "subnet_cidrs": [str(cidr) for cidr in cidrs] if isinstance(cidrs, list | tuple) else [str(cidrs)],
        "load_balancer_subnets": {str(zone): str(subnet) for zone, subnet in own.items()}
        if isinstance(own, Mapping)
        else None,
    }


class DemandForecastingOnEks(cdk.Stack):
    """Forecasts the demand of every store and category, served from two slots of a cluster."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        image: ModelImage,
        profile: Profile,
        cluster: ClusterAttributes,
        certificate_arn: str | None = None,
        network: Network | None = None,
    ) -> None:
        super().__init__(scope, id)
        network = Network.create(availability_zones=2) if network is None else network
        unit = BusinessUnit(self, "Unit", name="demand", profile=profile, network=network)
        groups, lock = declaration.FEATURE_GROUPS, declaration.LOCK_FILE
        store = FeatureStore(self, "Features", business_unit=unit, groups=groups, lock_file=lock)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="forecast", approval=Approval.automatic())
        retail = EksCluster.from_cluster_attributes(self, "Cluster", **cluster)
        service = EksInferenceService(
            self,
            "Service",
            tenant=EksTenant(self, "Tenant", business_unit=unit, cluster=retail),
            registry=registry,
            name="forecast",
            capacity=EksCapacity(min_pods=2, max_pods=4, cpu="500m", memory="512Mi"),
            capture=DataCapture(sampling_percent=100),
            rollout=RolloutPolicy.canary(
                percent=10,
                bake=cdk.Duration.minutes(10),
                checks=RolloutChecks(max_latency=cdk.Duration.seconds(1), probation=cdk.Duration.hours(1)),
            ),
            certificate=None
            if certificate_arn is None
            else acm.Certificate.from_certificate_arn(self, "Certificate", certificate_arn),
        )
        retraining = RetrainingPipeline(
            self,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=service,
            store=store,
            name="forecast",
            training_set=declaration.TRAINING_SET,
            training=TrainingJob(
                image=image,
                source=declaration.TRAINING_CODE,
                script=declaration.TRAINING_SCRIPT,
                instance_type="ml.m5.large",
                max_runtime=cdk.Duration.hours(1),
            ),
            evaluation=declaration.EVALUATION,
            gate=declaration.GATE,
            guard=GuardPolicy(cooldown=cdk.Duration.days(14), recheck_interval=WEEK),
        )
        monitor = ModelMonitor(
            self,
            "Monitor",
            endpoint=service,
            window=MONTH,
            interval=WEEK,
            spec=declaration.SPEC,
        )
        DriftAlarms(self, "Alarms", monitor=monitor, retraining=retraining, max_wape_ratio=1.25)
        define_outputs(
            self, unit=unit, store=store, registry=registry, endpoint=service, retraining=retraining, monitor=monitor
        )
        cdk.CfnOutput(self, "ServiceUrl", value=service.url)
        cdk.CfnOutput(self, "RuleArn", value=service.load_balancer.rule_arn)
        cdk.CfnOutput(self, "ServiceSecurityGroup", value=service.load_balancer.security_group.security_group_id)
        self.unit, self.service = unit, service
