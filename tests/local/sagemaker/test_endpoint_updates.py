"""UpdateEndpoint with deployment guardrails: by boto3 on the embedded cloud, and the plans themselves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.sagemaker import endpoint_updates
from mlops_local.sagemaker.api_shapes import ServiceError

if TYPE_CHECKING:
    from conftest import Plane

MINUTES = 60


def _guard(
    kind: str = "CANARY",
    *,
    percent: int = 50,
    wait: int = 0,
    final: int = 0,
    alarms: tuple[str, ...] = (),
    timeout: int = 28_800,
) -> dict[str, Any]:
    size = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(kind)
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": wait}
    if size is not None:
        routing[size] = {"Type": "CAPACITY_PERCENT", "Value": percent}
    guard: dict[str, Any] = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": final,
            "MaximumExecutionTimeoutInSeconds": timeout,
        }
    }
    if alarms:
        guard["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return guard


def _endpoint(plane: "Plane", name: str, data: str = "fine", count: int = 2, **environment: str) -> None:
    """An endpoint in service with a config of its name, and a second config ``<name>-new``."""
    plane.config(plane.model(name), count=count)
    plane.endpoint(name, name)
    plane.config(plane.model(f"{name}-new", data, **environment), count=count)


def _await_baking(plane: "Plane", name: str) -> dict[str, Any]:
    """Wait until a deployment bakes; return the endpoint's description."""

    def baking() -> Any:
        described = plane.sagemaker.describe_endpoint(EndpointName=name)
        pending = described.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])[0]
        status = pending.get("VariantStatus", [{}])[0]
        return described if status.get("Status") == "Baking" else None

    found: dict[str, Any] = plane.wait(baking, f"the baking of endpoint {name}")
    return found


@contextmanager
def _traffic(plane: "Plane", name: str) -> Iterator[list[str]]:
    """Invoke an endpoint from a thread, which appends the responding server's name to the list."""
    answers: list[str] = []
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.01):
            try:
                answers.append(plane.invoke(name)["model"])
            except ClientError as error:
                answers.append(error.response["Error"]["Code"])

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def test_default_update_is_all_at_once(plane: "Plane") -> None:
    """Without a deployment config the new fleet gets all traffic, and no request fails meanwhile."""
    _endpoint(plane, "plain", "next")
    with _traffic(plane, "plain") as answers:
        plane.sagemaker.update_endpoint(EndpointName="plain", EndpointConfigName="plain-new")
        assert plane.settled("plain")["EndpointConfigName"] == "plain-new"
        plane.wait(lambda: answers[-1] == "next", "an answer of the new fleet")
    assert set(answers) == {"plain", "next"}
    assert answers.index("next") == len(answers) - answers.count("next")


def test_a_call_on_its_way_is_answered_by_the_old_fleet(plane: "Plane") -> None:
    """The old fleet ends once its calls have returned."""
    _endpoint(plane, "patient", "late")
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(plane.invoke("patient", {"sleep": 4.0})["model"]))
    thread.start()
    plane.sagemaker.update_endpoint(EndpointName="patient", EndpointConfigName="patient-new")
    assert plane.settled("patient")["EndpointConfigName"] == "patient-new"
    assert plane.invoke("patient")["model"] == "late"
    thread.join()
    assert answers == ["patient"]


def test_the_bake_of_all_traffic_says_full_capacity(plane: "Plane") -> None:
    """By then the new fleet answers every call, while the old one still waits."""
    _endpoint(plane, "alone", "new")
    guard = _guard(wait=0, final=10 * MINUTES)
    guard["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    plane.sagemaker.update_endpoint(EndpointName="alone", EndpointConfigName="alone-new", DeploymentConfig=guard)
    described = _await_baking(plane, "alone")
    (variant,) = described["PendingDeploymentSummary"]["ProductionVariants"]
    assert "with traffic enabled on full capacity of 2 instance(s)." in variant["VariantStatus"][0]["StatusMessage"]
    assert {plane.invoke("alone")["model"] for _ in range(20)} == {"new"}
    assert described["EndpointConfigName"] == "alone"


def test_canary_is_promoted(plane: "Plane") -> None:
    """Half of the green fleet takes about half of the traffic while it bakes; then all of it, and the blue fleet ends."""
    _endpoint(plane, "promoted", "canary")
    guard = _guard(wait=3 * MINUTES, final=MINUTES)
    with _traffic(plane, "promoted") as answers:
        plane.sagemaker.update_endpoint(
            EndpointName="promoted", EndpointConfigName="promoted-new", DeploymentConfig=guard
        )
        described = _await_baking(plane, "promoted")
        pending = described["PendingDeploymentSummary"]
        assert described["EndpointStatus"] == "Updating"
        assert described["EndpointConfigName"] == "promoted"
        assert pending["EndpointConfigName"] == "promoted-new"
        assert (
            pending["ProductionVariants"][0]["CurrentInstanceCount"],
            pending["ProductionVariants"][0]["DesiredInstanceCount"],
        ) == (1, 2)
        assert (
            "canary capacity of 1 instance(s)" in pending["ProductionVariants"][0]["VariantStatus"][0]["StatusMessage"]
        )
        before = len(answers)
        plane.wait(lambda: len(answers) > before + 60, "sixty requests during the baking")
        during = answers[before : before + 60]
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            plane.sagemaker.update_endpoint(EndpointName="promoted", EndpointConfigName="promoted")
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            plane.sagemaker.delete_endpoint(EndpointName="promoted")
        described = plane.settled("promoted")
    assert described["EndpointConfigName"] == "promoted-new"
    assert described["LastDeploymentConfig"] == guard
    assert "PendingDeploymentSummary" not in described
    assert 15 <= during.count("canary") <= 45  # 30 expected, nearly four standard deviations
    assert set(answers) == {"promoted", "canary"}
    assert plane.invoke("promoted")["model"] == "canary"
    found = plane.events(
        lambda e: (
            e["detail-type"] == "SageMaker Endpoint Deployment State Change"
            and e["detail"]["EndpointName"] == "promoted"
            and "Baking" in str(e["detail"].get("PendingDeploymentSummary"))
        ),
        2,
    )
    assert {e["detail"]["EndpointStatus"] for e in found} == {"UPDATING"}


def _errors_alarm(plane: "Plane", endpoint: str) -> None:
    """Put the alarm ``<endpoint>-errors`` on the new fleet's own errors."""
    plane.cloudwatch.put_metric_alarm(
        AlarmName=f"{endpoint}-errors",
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "AllTraffic"},
            {"Name": "EndpointConfigName", "Value": f"{endpoint}-new"},
        ],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )


def test_canary_is_rolled_back_by_its_alarm(plane: "Plane") -> None:
    """A green fleet that returns 500 triggers the alarm on its own metrics: the old config serves again, without a reason."""
    _endpoint(plane, "guarded", "broken")
    _errors_alarm(plane, "guarded")
    with _traffic(plane, "guarded") as answers:
        plane.sagemaker.update_endpoint(
            EndpointName="guarded",
            EndpointConfigName="guarded-new",
            DeploymentConfig=_guard(wait=20 * MINUTES, alarms=("guarded-errors",)),
        )
        described = plane.settled("guarded")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "guarded"
    assert "FailureReason" not in described
    assert "ModelError" in answers
    assert {plane.invoke("guarded")["model"] for _ in range(10)} == {"guarded"}
    found = plane.events(
        lambda e: (
            e["detail-type"] == "SageMaker Endpoint State Change"
            and e["detail"]["EndpointName"] == "guarded"
            and e["detail"]["EndpointStatus"] == "ROLLING_BACK"
        )
    )
    assert found[0]["resources"] == [described["EndpointArn"]]


def test_an_alarm_that_is_deleted_in_the_bake_watches_nothing(plane: "Plane") -> None:
    """The fleet returns 500 as before, and there is no rollback."""
    _endpoint(plane, "guarded-late", "broken")
    _errors_alarm(plane, "guarded-late")
    plane.sagemaker.update_endpoint(
        EndpointName="guarded-late",
        EndpointConfigName="guarded-late-new",
        DeploymentConfig=_guard(wait=20 * MINUTES, alarms=("guarded-late-errors",)),
    )
    plane.cloudwatch.delete_alarms(AlarmNames=["guarded-late-errors"])
    with _traffic(plane, "guarded-late"):
        described = plane.settled("guarded-late")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "guarded-late-new")


def test_green_fleet_that_does_not_start_rolls_back(plane: "Plane") -> None:
    """A new server that never answers pings leaves the old config in service."""
    _endpoint(plane, "stuck", PING="exit")
    plane.sagemaker.update_endpoint(EndpointName="stuck", EndpointConfigName="stuck-new")
    described = plane.settled("stuck")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "stuck")
    assert plane.invoke("stuck")["model"] == "stuck"


def test_a_jump_of_the_clock_ends_the_baking(plane: "Plane") -> None:
    """Baking uses the embedded clock: a jump over all of it ends it, and the time limit counts the deployment's own hours."""
    _endpoint(plane, "jumped", "later")
    plane.sagemaker.update_endpoint(
        EndpointName="jumped", EndpointConfigName="jumped-new", DeploymentConfig=_guard(wait=3600, final=3600)
    )
    _await_baking(plane, "jumped")
    plane.cloud.clock_jump(by=timedelta(hours=24))
    assert plane.settled("jumped")["EndpointConfigName"] == "jumped-new"


def test_retained_properties_keep_capture_and_counts(plane: "Plane") -> None:
    """Retaining keeps the running count and ignores the new capture, unless capture is excluded."""
    plane.config(plane.model("retained"), count=2)
    plane.endpoint("retained", "retained")
    plane.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="retained", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}]
    )
    plane.settled("retained")
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://plane/capture",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }
    plane.config("retained-new", model="retained", count=1, **capture)
    plane.sagemaker.update_endpoint(
        EndpointName="retained", EndpointConfigName="retained-new", RetainAllVariantProperties=True
    )
    described = plane.settled("retained")
    assert described["EndpointConfigName"] == "retained-new"
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 4
    assert "DataCaptureConfig" not in described
    plane.sagemaker.update_endpoint(
        EndpointName="retained",
        EndpointConfigName="retained-new",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DataCaptureConfig"}],
    )
    described = plane.settled("retained")
    assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 4


def test_fails_on_a_canary_of_more_than_half(plane: "Plane") -> None:
    """At most 50 % of the variant's instances: one instance can have no canary."""
    _endpoint(plane, "single", count=1)
    with pytest.raises(ClientError, match="CanarySize must be at most 50 % of the variant's total instance count"):
        plane.sagemaker.update_endpoint(
            EndpointName="single", EndpointConfigName="single-new", DeploymentConfig=_guard(percent=50)
        )


@pytest.mark.parametrize(
    ("alarm", "message"),
    [
        ("guarded-absent", r"Alarms do not exist: \['guarded-absent'\]"),
        ("elsewhere", r"cannot describe the auto-rollback alarms \['elsewhere'\]: .* not authorized"),
    ],
)
def test_fails_on_an_alarm_that_cannot_be_watched(plane: "Plane", alarm: str, message: str) -> None:
    """Alarms of the rollback must exist, and the execution role must be allowed to describe them."""
    if not plane.sagemaker.list_endpoints(NameContains="unwatched")["Endpoints"]:
        plane.config(plane.model("unwatched"))
        plane.endpoint("unwatched", "unwatched")
    with pytest.raises(ClientError, match=message):
        plane.sagemaker.update_endpoint(
            EndpointName="unwatched",
            EndpointConfigName="unwatched",
            DeploymentConfig=_guard("ALL_AT_ONCE", alarms=(alarm,)),
        )


@given(count=st.integers(2, 40), percent=st.integers(10, 50), kind=st.sampled_from(["CANARY", "LINEAR"]))
def test_steps_grow_to_the_whole_fleet(count: int, percent: int, kind: str) -> None:
    """Every plan ends with all instances, grows by at most half of them, and starts within its size."""
    plan = endpoint_updates.plan(_guard(kind, percent=percent), {"AllTraffic": count}, {"AllTraffic"})
    sizes = [step["AllTraffic"] for step in plan.steps]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == count
    assert 1 <= sizes[0] <= count / 2
    if kind == "LINEAR":
        assert all(after - before <= sizes[0] for before, after in zip([0, *sizes], sizes, strict=False))


def _rolling(wait: int = 60, **changes: Any) -> dict[str, Any]:
    batch = {"Type": "INSTANCE_COUNT", "Value": 2}
    return {"RollingUpdatePolicy": {"MaximumBatchSize": batch, "WaitIntervalInSeconds": wait} | changes}


def test_rolling_goes_in_batches() -> None:
    """A rolling update goes batch by batch, with a bake each; a rollback is all at once by default.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RollingUpdatePolicy.html
    """
    plan = endpoint_updates.plan(_rolling(), {"AllTraffic": 5}, {"AllTraffic"})
    assert [step["AllTraffic"] for step in plan.steps] == [2, 4, 5]
    assert (plan.wait, plan.final, plan.back) == (60, 60, {"AllTraffic": 5})
    back = _rolling(RollbackMaximumBatchSize={"Type": "INSTANCE_COUNT", "Value": 2})
    assert endpoint_updates.plan(back, {"AllTraffic": 5}, {"AllTraffic"}).back == {"AllTraffic": 2}


def test_rolling_has_no_second_fleet(plane: "Plane") -> None:
    """While a batch bakes the old fleet is smaller by the batch; a manually set alarm restores all of it."""
    _endpoint(plane, "rolled", "newer", count=4)
    plane.cloudwatch.put_metric_alarm(
        AlarmName="guarded-rolled",
        Metrics=[
            {"Id": "rate", "Expression": "IF(calls > 0, errors / calls, 0)"},
            *(
                {
                    "Id": name,
                    "MetricStat": {
                        "Metric": {"Namespace": "Test", "MetricName": name, "Dimensions": []},
                        "Period": 60,
                        "Stat": "Sum",
                    },
                    "ReturnData": False,
                }
                for name in ("errors", "calls")
            ),
        ],
        EvaluationPeriods=1,
        Threshold=0.5,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    guard = _rolling(wait=3600, RollbackMaximumBatchSize={"Type": "INSTANCE_COUNT", "Value": 1})
    guard |= {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "guarded-rolled"}]}}
    plane.sagemaker.update_endpoint(EndpointName="rolled", EndpointConfigName="rolled-new", DeploymentConfig=guard)
    described = _await_baking(plane, "rolled")
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert described["PendingDeploymentSummary"]["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    seen = [plane.invoke("rolled")["model"] for _ in range(60)]
    assert 15 <= seen.count("newer") <= 45  # 30 expected, nearly four standard deviations
    plane.cloudwatch.set_alarm_state(AlarmName="guarded-rolled", StateValue="ALARM", StateReason="by hand")
    described = plane.settled("rolled")
    assert (described["EndpointConfigName"], described["ProductionVariants"][0]["CurrentInstanceCount"]) == (
        "rolled",
        4,
    )
    assert {plane.invoke("rolled")["model"] for _ in range(10)} == {"rolled"}


def test_both_fleets_have_series_of_their_own(plane: "Plane") -> None:
    """While a canary bakes, p99 latency of both fleets can be compared by ``EndpointConfigName``.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    _endpoint(plane, "compared", "slower")
    began = datetime.fromisoformat(plane.cloud.clock()["now"])
    plane.sagemaker.update_endpoint(
        EndpointName="compared", EndpointConfigName="compared-new", DeploymentConfig=_guard(wait=3600)
    )
    _await_baking(plane, "compared")
    for _ in range(40):
        plane.invoke("compared")

    def p99(config: str) -> list[float]:
        dimensions = {"EndpointName": "compared", "VariantName": "AllTraffic", "EndpointConfigName": config}
        points = plane.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="ModelLatency",
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=began - timedelta(minutes=1),
            EndTime=began + timedelta(hours=1),
            Period=3600,
            ExtendedStatistics=["p99"],
        )["Datapoints"]
        return [point["ExtendedStatistics"]["p99"] for point in points]

    plane.wait(lambda: p99("compared"), "p99 of the old fleet")
    plane.wait(lambda: p99("compared-new"), "p99 of the new fleet")
    plane.cloud.clock_jump(by=timedelta(hours=2))
    assert plane.settled("compared")["EndpointConfigName"] == "compared-new"


@pytest.mark.parametrize("guard", [_guard(wait=60), _guard("LINEAR", wait=60), _rolling()])
def test_a_fleet_of_nothing_has_no_steps(guard: dict[str, Any]) -> None:
    """An asynchronous endpoint scaled to zero is updated too."""
    assert endpoint_updates.plan(guard, {"AllTraffic": 0}, {"AllTraffic"}).steps == ({"AllTraffic": 0},)


@pytest.mark.parametrize("is_guarded", [True, False])
def test_guardrails_that_do_not_work_are_all_at_once(is_guarded: bool) -> None:
    """Serverless variants and Inf1 shift all at once, and no alarm is watched."""
    plan = endpoint_updates.plan(
        _guard(wait=60, alarms=("a",)), {"AllTraffic": 4}, {"AllTraffic"}, is_guarded=is_guarded
    )
    assert (len(plan.steps), plan.alarms) == ((2, ("a",)) if is_guarded else (1, ()))


def test_other_variants_are_all_at_once() -> None:
    """A config whose variants have other names is outside of the guardrails: no steps, no baking."""
    plan = endpoint_updates.plan(_guard(wait=600, final=600), {"New": 2}, {"Old"})
    assert (plan.steps, plan.final) == (({"New": 2},), 0)


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        (_guard(wait=600, final=600, timeout=1200), "MaximumExecutionTimeoutInSeconds 1200 must be larger"),
        (_guard("LINEAR", percent=5), "LinearStepSize must be 10-50 %"),
        (
            _rolling(RollbackMaximumBatchSize={"Type": "CAPACITY_PERCENT", "Value": 4}),
            "RollbackMaximumBatchSize must be 5-100 %",
        ),
        (
            {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 1}}},
            "CanarySize is required",
        ),
    ],
)
def test_fails_on_plans_that_aws_refuses(guard: dict[str, Any], message: str) -> None:
    """Invalid deployments are rejected before anything starts."""
    with pytest.raises(ServiceError, match=message):
        endpoint_updates.plan(guard, {"AllTraffic": 4}, {"AllTraffic"})
