"""A monitor with a job that explains the model, alarms by severity, and the dashboard of a unit."""

import aws_cdk as cdk
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    ExpectedTraffic,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    MonitorEngine,
    MonitorSpec,
    MonitorTables,
    Network,
    Profile,
    Severity,
    UnitDashboard,
)


class Monitors(cdk.Stack):
    """Two endpoints of one unit: one monitored by Lambda functions, the other by a job."""

    def __init__(
        self, scope: Construct, id: str, *, network: Network, image: ModelImage, explainer: ModelImage
    ) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="returns", profile=Profile.DEVELOPMENT, network=network)
        endpoints = {
            name: ModelEndpoint(
                self,
                f"{name}Endpoint",
                business_unit=unit,
                registry=ModelRegistry(self, name, business_unit=unit, name=name.lower()),
                name=name.lower(),
                image=image,
                capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
                capture=DataCapture(sampling_percent=100),
            )
            for name in ("Fraud", "Reason")
        }
        day = cdk.Duration.days(1)
        # [start:severities]
        pager = sns.Topic(self, "Pager", master_key=unit.key, enforce_ssl=True)
        monitor = ModelMonitor(
            self,
            "FraudMonitor",
            endpoint=endpoints["Fraud"],
            window=day,
            interval=day,
            spec=MonitorSpec(alarm_features=("amount",), quality_limits={"auc": 0.8}),
        )
        fraud = DriftAlarms(
            self,
            "FraudAlarms",
            monitor=monitor,
            critical_topic=pager,
            severities={"bias": Severity.WARNING},
            max_psi={"amount": 0.25},
            expected_traffic=ExpectedTraffic(start=6, end=22, days=("MON", "TUE", "WED", "THU", "FRI", "SAT")),
        )
        # [end:severities]
        # [start:job]
        engine = MonitorEngine.processing(image=explainer, instance_type="ml.m5.2xlarge", attribution_rows=500)
        explained = ModelMonitor(
            self,
            "ReasonMonitor",
            endpoint=endpoints["Reason"],
            window=day,
            interval=day,
            engine=engine,
        )
        reason = DriftAlarms(self, "ReasonAlarms", monitor=explained)
        # [end:job]
        # [start:board]
        UnitDashboard(self, "Board", business_unit=unit, drift_alarms=[fraud, reason])
        # [end:board]
        # [start:tables]
        MonitorTables(self, "FraudTables", monitor=monitor, history=cdk.Duration.days(30))
        # [end:tables]
