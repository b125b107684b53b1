"""Stack of dynamic pricing: models take over in four equal steps with checks."""

import aws_cdk as cdk

from constructs import Construct
from examples.retail.checks import rehearsed
from examples.retail.dynamic_pricing import declaration
from examples.retail.outputs import define_outputs
from mlops_constructs import (
    Approval,
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    FeatureStore,
    GuardPolicy,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    Network,
    Profile,
    RetrainingPipeline,
    RolloutPolicy,
    TrainingJob,
)

WEEK = cdk.Duration.days(7)


class DynamicPricing(cdk.Stack):
    """Predicts the units of a product group that a store sells at a planned price."""

    def __init__(
        self, scope: Construct, id: str, *, image: ModelImage, profile: Profile, network: Network | None = None
    ) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="pricing", profile=profile, network=network)
        groups, lock = declaration.FEATURE_GROUPS, declaration.LOCK_FILE
        store = FeatureStore(self, "Features", business_unit=unit, groups=groups, lock_file=lock)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="elasticity", approval=Approval.automatic())
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="elasticity",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=4),
            capture=DataCapture(sampling_percent=100),
            rollout=RolloutPolicy.linear(step_percent=25, bake=cdk.Duration.minutes(5), checks=rehearsed(declaration)),
        )
        training = TrainingJob(
            image=image,
            source=declaration.TRAINING_CODE,
            script=declaration.TRAINING_SCRIPT,
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        )
        retraining = RetrainingPipeline(
            self,
            "Retraining",
            business_unit=unit,
            registry=registry,
            endpoint=endpoint,
            store=store,
            name="elasticity",
            training_set=declaration.TRAINING_SET,
            training=training,
            evaluation=declaration.EVALUATION,
            gate=declaration.GATE,
            guard=GuardPolicy(recheck_interval=WEEK),  # the monitor's interval
        )
        monitor = ModelMonitor(self, "Monitor", endpoint=endpoint, window=WEEK, interval=WEEK)
        DriftAlarms(self, "Alarms", monitor=monitor, retraining=retraining, max_wape_ratio=1.25)
        define_outputs(
            self, unit=unit, store=store, registry=registry, endpoint=endpoint, retraining=retraining, monitor=monitor
        )
