"""An endpoint monitored by SageMaker Model Monitor, in an account that used it before it was closed to new customers."""

import aws_cdk as cdk

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    MonitorEngine,
    Network,
    Profile,
    SageMakerModelMonitor,
)


class SageMakerMonitored(cdk.Stack):
    """One endpoint, with inputs and quality analyzed each night by two of SageMaker's monitors."""

    def __init__(self, scope: Construct, id: str, *, network: Network, image: ModelImage) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="supply", profile=Profile.DEVELOPMENT, network=network)
        endpoint = ModelEndpoint(
            self,
            "Endpoint",
            business_unit=unit,
            registry=ModelRegistry(self, "Registry", business_unit=unit, name="leadtime"),
            name="leadtime",
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
            capture=DataCapture(sampling_percent=100),
        )
        # [start:engine]
        settings = SageMakerModelMonitor(
            monitors=("data_quality", "model_quality"),
            schedule="cron(0 4 ? * * *)",
            problem_type="Regression",
            label_delay=cdk.Duration.days(2),
        )
        monitor = ModelMonitor(
            self,
            "Monitor",
            endpoint=endpoint,
            window=cdk.Duration.days(7),
            interval=cdk.Duration.days(1),
            engine=MonitorEngine.sagemaker_model_monitor(settings),
        )
        DriftAlarms(self, "Alarms", monitor=monitor)
        # [end:engine]
