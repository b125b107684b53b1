"""Fixtures shared by the tests of constructs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from ministack.services import stepfunctions

from mlops_constructs import (
    Approval,
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    Entity,
    Feature,
    FeatureGroup,
    FeatureStore,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    RetrainingPipeline,
    TrainingJob,
)
from mlops_runtime.contracts.retraining import EvaluationPlan, TrainingSetPlan
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.layers import layer_wheels

ARN = "arn:aws:states:us-east-1:123456789012"
Aws = Callable[[str, dict[str, Any]], Any]


class AwsError(Exception):
    """An error of a fake AWS, with the name that a state machine catches."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.name, self.cause = name, cause


@dataclass
class Run:
    """Record of an execution."""

    status: str
    output: dict[str, Any]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def names(self) -> list[str]:
        """Return the called integrations in order."""
        return [name for name, _ in self.calls]

    def arguments(self, name: str) -> dict[str, Any]:
        """Return the arguments of an integration's last call."""
        return next(arguments for called, arguments in reversed(self.calls) if called == name)


@pytest.fixture
def run_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run a definition in the embedded cloud's interpreter against a fake AWS, without waiting."""

    def run(definition: Mapping[str, object], given: Mapping[str, object], aws: Aws) -> Run:
        record = Run(status="", output={})

        def invoke(resource: str, arguments: dict[str, Any], *_: object) -> Any:
            name = resource.partition(":::")[2].removeprefix("aws-sdk:")
            record.calls.append((name, arguments))
            try:
                return aws(name, arguments)
            except AwsError as error:
                raise stepfunctions._ExecutionError(error.name, error.cause) from error

        machine, execution = f"{ARN}:stateMachine:m", f"{ARN}:execution:m:alarm-2017-08-01T00-00-00"
        monkeypatch.setattr(stepfunctions, "_invoke_resource", invoke)
        monkeypatch.setattr(stepfunctions, "_scaled_sleep", record.slept.append)
        monkeypatch.setattr(stepfunctions, "_emit_execution_status_event", lambda _: None)
        monkeypatch.setattr(stepfunctions.time, "sleep", lambda _: None)
        text = json.dumps(definition)
        assert stepfunctions._validate_definition_jsonata(text) is None
        stepfunctions._state_machines[machine] = {"name": "m", "definition": text}
        started: dict[str, Any] = {
            "stateMachineArn": machine,
            "name": execution.rpartition(":")[2],
            "startDate": "2017-08-01T00:00:00Z",
            "input": json.dumps(given),
            "status": "RUNNING",
            "events": [],
        }
        stepfunctions._executions[execution] = started
        stepfunctions._run_execution(execution)
        record.status, record.output = started["status"], json.loads(started["output"])
        return record

    return run


@pytest.fixture
def aws_error() -> type[AwsError]:
    """Return an error for a fake AWS to raise."""
    return AwsError


@dataclass
class Demand:
    """A unit with every construct of this package, and its template."""

    stack: cdk.Stack
    unit: BusinessUnit
    store: FeatureStore
    registry: ModelRegistry
    endpoint: ModelEndpoint
    retraining: RetrainingPipeline
    monitor: ModelMonitor
    alarms: DriftAlarms

    @cached_property
    def template(self) -> dict[str, Any]:
        """The template; nothing can be added to the stack afterwards."""
        return Template.from_stack(self.stack).to_json()

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a type, by logical id."""
        found = self.template["Resources"].items()
        return {name: resource.get("Properties", {}) for name, resource in found if resource["Type"] == kind}

    def one(self, kind: str, part: str) -> dict[str, Any]:
        """Return the properties of the only resource of a type whose logical id contains ``part``."""
        (properties,) = (p for name, p in self.resources(kind).items() if part in name)
        return properties

    def statements(self, part: str) -> list[dict[str, Any]]:
        """Return the statements of managed policies whose logical id contains ``part``."""
        policies = self.resources("AWS::IAM::ManagedPolicy").items()
        return [s for name, p in policies if part in name for s in p["PolicyDocument"]["Statement"]]


@dataclass(frozen=True)
class Foundation:
    """Prerequisites of pipelines and monitors."""

    folder: Path
    stack: cdk.Stack
    unit: BusinessUnit
    image: ModelImage
    store: FeatureStore
    registry: ModelRegistry
    endpoint: ModelEndpoint

    def retraining(self, construct_id: str, **changes: Any) -> RetrainingPipeline:
        """Define a pipeline with changed arguments."""
        return RetrainingPipeline(
            self.stack,
            construct_id,
            business_unit=self.unit,
            registry=self.registry,
            endpoint=self.endpoint,
            **{
                "store": self.store,
                "name": "forecast",
                "training_set": TrainingSetPlan(
                    name="sales",
                    label_group="sales",
                    timestamp="event_time",
                    label="units",
                    features={"sales": ("price",)},
                    holdout_days=28,
                ),
                "training": TrainingJob(
                    image=self.image,
                    source=self.folder / "training",
                    script="train.py",
                    instance_type="ml.m5.large",
                    max_runtime=cdk.Duration.hours(1),
                ),
                "evaluation": EvaluationPlan(label="units", block="store", baselines=("price",)),
                **changes,
            },
        )

    def monitor(self, construct_id: str, **changes: Any) -> ModelMonitor:
        """Define a monitor with changed arguments."""
        with pytest.MonkeyPatch.context() as patch:
            # empty files in place of the wheels of ``mlops assets build``, which constructs only copy
            patch.setattr(layer_wheels, "ASSETS", self.folder / "assets")
            (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True, exist_ok=True)
            return ModelMonitor(
                self.stack,
                construct_id,
                endpoint=self.endpoint,
                **{"window": cdk.Duration.days(7), "interval": cdk.Duration.days(1), **changes},
            )


def make_foundation(folder: Path, **changes: Any) -> Foundation:
    """Return a function that defines a unit with store, registry and endpoint; ``changes`` as in ``make_demand``."""
    stack = cdk.Stack(cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}), "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand", owner="ann", cost_center="42", **changes.get("unit", {}))
    features = tuple(Feature(name, "double", name) for name in ("units", "price"))
    group = FeatureGroup(
        name="sales",
        entities=(Entity("store", "string", "store"),),
        event_time="day",
        features=features,
        owner="ann",
        description="d",
    )
    lock = folder / "features.lock.json"
    lock.write_text(FeatureLock().extend([group]).render())
    (folder / "training").mkdir(exist_ok=True)
    (folder / "training" / "train.py").write_text("print('train')\n")
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
    store = FeatureStore(stack, "Features", business_unit=unit, groups=[group], lock_file=lock)
    registry = ModelRegistry(
        stack,
        "Registry",
        business_unit=unit,
        name="forecast",
        **{"approval": Approval.automatic(), **changes.get("registry", {})},
    )
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        image=image,
        **{
            "name": "forecast",
            "capacity": EndpointCapacity.instances("ml.m5.large", instance_count=2),
            "capture": DataCapture(sampling_percent=100),
            **changes.get("endpoint", {}),
        },
    )
    return Foundation(folder, stack, unit, image, store, registry, endpoint)


def make_demand(folder: Path, **changes: Any) -> Demand:
    """Define a unit; ``changes`` has arguments by construct, such as ``retraining={"interval": ...}``."""
    base = make_foundation(folder, **changes)
    retraining = base.retraining("Retraining", **changes.get("retraining", {}))
    monitor = base.monitor("Monitor", **changes.get("monitor", {}))
    alarms = DriftAlarms(base.stack, "Alarms", monitor=monitor, retraining=retraining, **changes.get("alarms", {}))
    return Demand(base.stack, base.unit, base.store, base.registry, base.endpoint, retraining, monitor, alarms)


@pytest.fixture(scope="session")
def foundation(tmp_path_factory: pytest.TempPathFactory) -> Foundation:
    """A shared unit for constructs that fail validation; each attempt uses its own id."""
    return make_foundation(tmp_path_factory.mktemp("foundation"))


@pytest.fixture
def own_foundation(tmp_path: Path) -> Foundation:
    """A unit of the test's own, whose template may be read."""
    return make_foundation(tmp_path)


@pytest.fixture
def refused(foundation: Foundation) -> Callable[..., None]:
    """Define an invalid pipeline or monitor: ``refused(monitor={"window": ...})``."""

    def define(**changes: dict[str, Any]) -> None:
        ((construct, arguments),) = changes.items()
        number = len(foundation.stack.node.children)
        getattr(foundation, construct)(f"Refused{number}", **arguments)

    return define


@pytest.fixture(scope="session")
def demand(tmp_path_factory: pytest.TempPathFactory) -> Demand:
    """A production unit with the defaults of every construct."""
    return make_demand(tmp_path_factory.mktemp("demand"))


@pytest.fixture(scope="session")
def define_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Demand]:
    """Define a unit with changed arguments, shared by several tests."""
    return lambda **changes: make_demand(tmp_path_factory.mktemp("changed"), **changes)


@pytest.fixture
def define(tmp_path: Path) -> Callable[..., Demand]:
    """Define a unit with changed arguments."""
    return lambda **changes: make_demand(tmp_path, **changes)
