"""Stack of demand forecasting: features, retraining, endpoint, monitor and alarms."""

import aws_cdk as cdk

from constructs import Construct
from examples.retail.demand_forecasting import declaration
from examples.retail.demand_forecasting.checks import rehearsed_and_timed
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

WEEK, MONTH = cdk.Duration.days(7), cdk.Duration.days(28)


class DemandForecasting(cdk.Stack):
    """Forecasts the demand of every store and category, a week ahead."""

    def __init__(
        self, scope: Construct, id: str, *, image: ModelImage, profile: Profile, network: Network | None = None
    ) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="demand", profile=profile, network=network)
        groups, lock = declaration.FEATURE_GROUPS, declaration.LOCK_FILE
        store = FeatureStore(self, "Features", business_unit=unit, groups=groups, lock_file=lock)
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="forecast", approval=Approval.automatic())
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name="forecast",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
            capture=DataCapture(sampling_percent=100),
            rollout=RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10), checks=rehearsed_and_timed()),
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
            name="forecast",
            training_set=declaration.TRAINING_SET,
            training=training,
            evaluation=declaration.EVALUATION,
            gate=declaration.GATE,
            # two weeks pass between retrainings by alarms, which are checked as often as the monitor decides
            guard=GuardPolicy(cooldown=cdk.Duration.days(14), recheck_interval=WEEK),
        )
        monitor = ModelMonitor(self, "Monitor", endpoint=endpoint, window=MONTH, interval=WEEK, spec=declaration.SPEC)
        DriftAlarms(self, "Alarms", monitor=monitor, retraining=retraining, max_wape_ratio=1.25)
        define_outputs(
            self, unit=unit, store=store, registry=registry, endpoint=endpoint, retraining=retraining, monitor=monitor
        )
