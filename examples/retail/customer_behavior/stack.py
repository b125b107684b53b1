"""Stack of customer behaviour: models need an approval within two days and take over by canary."""

import aws_cdk as cdk

from constructs import Construct
from examples.retail.checks import rehearsed
from examples.retail.customer_behavior import declaration
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

WEEK, FORTNIGHT = cdk.Duration.days(7), cdk.Duration.days(14)


class CustomerBehavior(cdk.Stack):
    """Predicts whether a household buys in a category within the next 14 days."""

    def __init__(
        self, scope: Construct, id: str, *, image: ModelImage, profile: Profile, network: Network | None = None
    ) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="customer", profile=profile, network=network)
        groups, lock = declaration.FEATURE_GROUPS, declaration.LOCK_FILE
        store = FeatureStore(self, "Features", business_unit=unit, groups=groups, lock_file=lock)
        approval = Approval.manual(timeout=cdk.Duration.days(2))  # a person reviews predictions about people
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="propensity", approval=approval)
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="propensity",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
            capture=DataCapture(sampling_percent=100),
            rollout=RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10), checks=rehearsed(declaration)),
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
            name="propensity",
            training_set=declaration.TRAINING_SET,
            training=training,
            evaluation=declaration.EVALUATION,
            gate=declaration.GATE,
            guard=GuardPolicy(recheck_interval=WEEK),  # the monitor's interval
        )
        monitor = ModelMonitor(self, "Monitor", endpoint=endpoint, window=FORTNIGHT, interval=WEEK)
        DriftAlarms(self, "Alarms", monitor=monitor, retraining=retraining, max_wape_ratio=1.25)
        define_outputs(
            self, unit=unit, store=store, registry=registry, endpoint=endpoint, retraining=retraining, monitor=monitor
        )
