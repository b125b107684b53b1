"""The monitor's functions in a template: the deciding function for load balancers, and the engine that counts in a job."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs import ExpectedTraffic, ModelImage, MonitorEngine, UnitDashboard, ValidationError
from mlops_constructs.compliance.harness import check
from mlops_constructs.model_monitor.monitor_functions import MonitorAccess
from mlops_runtime.contracts import from_json
from mlops_runtime.monitor.call_metrics import sources
from mlops_runtime.monitor.job_start import MonitorJobPlan
from mlops_runtime.monitor.spec import MonitorSpec

IMAGE = ModelImage.from_ecr(repository_name="mlops-explain", digest="sha256:" + "0" * 64)


def _environment(metric: cloudwatch.Metric) -> dict[str, str]:
    part: Any = SimpleNamespace
    endpoint = part(
        endpoint_name="e",
        variant="v",
        rollout=part(table=part(table_name="t")),
        metric_invocations=lambda: metric,
    )
    unit = part(name="u", artifacts=part(bucket_name="a"), bus=part(event_bus_name="b"))
    stack: Any = cdk.Stack()
    access = MonitorAccess(
        scope=stack, business_unit=unit, endpoint=endpoint, captures=part(bucket_name="c"), period_hours=1
    )
    found: dict[str, str] = cdk.Stack.of(stack).resolve(access.environment(MonitorSpec(), window_hours=1))
    return found


def test_a_load_balancers_latency_is_watched():
    """Watches latency with the dimensions of its calls, in milliseconds."""
    dimensions = {"LoadBalancer": "app/e/1"}
    metric = cloudwatch.Metric(
        namespace="AWS/ApplicationELB", metric_name="RequestCount", dimensions_map=dimensions, statistic="Sum"
    )
    calls, latency = sources("e", "v", json.loads(_environment(metric)["TRAFFIC"]))
    assert (calls.metric, calls.dimensions) == ("RequestCount", dimensions)
    assert latency is not None
    assert (latency.namespace, latency.metric) == ("AWS/ApplicationELB", "TargetResponseTime")
    assert (latency.dimensions, latency.milliseconds) == (dimensions, 1000)


def test_sagemaker_needs_no_word():
    """SageMaker's metrics are the default."""
    metric = cloudwatch.Metric(namespace="AWS/SageMaker", metric_name="Invocations")
    assert "TRAFFIC" not in _environment(metric)


@pytest.fixture(scope="module")
def made(define_once: Callable[..., Any]) -> Any:
    """A monitor with a Spark job and explanations, every alarm, and the unit's dashboard."""
    made = define_once(
        monitor={
            "spec": MonitorSpec(alarm_features=("price",), quality_limits={"rmse": 12}),
            "engine": MonitorEngine.processing(image=IMAGE, spark=True, instance_count=3, attribution_rows=200),
        },
        alarms={"max_psi": {"price": 0.2}, "expected_traffic": ExpectedTraffic(start=7, end=20)},
    )
    UnitDashboard(made.stack, "Board", business_unit=made.unit, drift_alarms=[made.alarms])
    return made


def _plan(made: Any) -> MonitorJobPlan:
    variables = made.one("AWS::Lambda::Function", "MonitorStart")["Environment"]["Variables"]
    parts = variables["JOB"]["Fn::Join"][1]
    return from_json(MonitorJobPlan, "".join(part if isinstance(part, str) else "token" for part in parts))


def test_nothing_is_counted_as_it_lands(made: Any):
    """One function starts the job; no other function counts or decides, and there is no capture queue."""
    functions = {name[:-8] for name in made.resources("AWS::Lambda::Function") if name.startswith("Monitor")}
    assert functions == {"MonitorStart"}
    assert not [name for name in made.resources("AWS::Events::Rule") if name.startswith("MonitorCaptured")]
    with pytest.raises(
        ValidationError, match=r"only MonitorEngine.on_lambda\(\) counts objects from a queue, got PROCESSING"
    ):
        made.monitor.queue.queue_url  # noqa: B018 - it raises


def test_the_function_reads_its_plan(made: Any):
    """The runtime's contract parses the construct's environment."""
    plan = _plan(made)
    assert (plan.instance_type, plan.count, plan.maximum, plan.attribution_rows) == ("ml.m5.xlarge", 3, 3600, 200)
    assert plan.image_uri.endswith("@sha256:" + "0" * 64)
    assert plan.code_uri is not None


def test_the_job_starts_only_where_it_was_declared(made: Any):
    """Limited to the unit's subnets and group, its key, the instance type and run time, the endpoint's name and one role."""
    create, tags, pass_role = (
        next(s for s in made.statements("MonitorStartRole") if s["Action"] == action)
        for action in ("sagemaker:CreateProcessingJob", "sagemaker:AddTags", "iam:PassRole")
    )
    assert json.dumps(create["Resource"]).endswith(':processing-job/demand-forecast-monitor-*"]]}')
    assert create["Resource"] == tags["Resource"]
    conditions = create["Condition"]
    assert conditions["ForAnyValue:StringEquals"] == {"sagemaker:InstanceTypes": "ml.m5.xlarge"} or conditions[
        "ForAnyValue:StringEquals"
    ] == {"sagemaker:InstanceTypes": ["ml.m5.xlarge"]}
    assert set(conditions["Null"]) == {"sagemaker:VpcSubnets", "sagemaker:VpcSecurityGroupIds"}
    assert set(conditions["StringEquals"]) == {"sagemaker:VolumeKmsKey"}
    assert conditions["NumericLessThanEquals"] == {"sagemaker:MaxRuntimeInSeconds": _plan(made).maximum}
    assert pass_role["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_the_job_publishes_in_its_units_namespace_alone(made: Any):
    """SageMaker publishes the instance metrics itself."""
    published = [s for s in made.statements("MonitorJobRole") if s["Action"] == "cloudwatch:PutMetricData"]
    assert [s["Condition"]["StringEquals"]["cloudwatch:namespace"] for s in published] == [
        "MLOps/demand",
        "/aws/sagemaker/ProcessingJobs",
    ]


def test_the_job_may_write_counts_and_reports_and_nothing_else(made: Any):
    """It reads captures, labels, baseline and model; the trust names the account."""
    written = [s for s in made.statements("MonitorJobRole") if s["Action"] == "s3:PutObject"]
    prefixes = {str(part) for s in written for part in _texts(s["Resource"]) if "monitor/" in str(part)}
    assert prefixes >= {"/monitor/demand-forecast/counts/*", "/monitor/demand-forecast/reports/*"}
    assert all(prefix.startswith("/monitor/demand-forecast/") for prefix in prefixes)
    read = {
        str(part)
        for s in made.statements("MonitorJobRole")
        if s["Action"] == "s3:GetObject"
        for part in _texts(s["Resource"])
    }
    assert "/models/demand-forecast/*" in read
    trust = made.one("AWS::IAM::Role", "MonitorJobRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust[0]["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_a_run_that_fails_is_told(made: Any):
    """Its event goes to a queue with an alarm, beside the missing heartbeat."""
    rule = made.one("AWS::Events::Rule", "MonitorJobFailed")
    assert rule["EventPattern"]["detail"] == {
        "ProcessingJobName": [{"prefix": "demand-forecast-monitor-"}],
        "ProcessingJobStatus": ["Failed", "Stopped"],
    }
    assert made.one("AWS::CloudWatch::Alarm", "MonitorJobDeadLettersAlarm")["AlarmActions"]


def test_the_units_dashboard_shows_the_endpoint(made: Any):
    """The state is at the top, the endpoint's row below."""
    body = json.dumps(made.one("AWS::CloudWatch::Dashboard", "Board")["DashboardBody"])
    assert "AlarmsEndpoint" in body
    assert "demand-forecast: drift" in body


def test_with_everything_on_nothing_is_left_to_ask(made: Any):
    """Six packs report nothing unacknowledged and no stale acknowledgement."""
    (stack,) = check(made.stack.node.root).stacks
    assert stack.problems == []


def _texts(value: Any) -> list[str]:
    """Yield every string in a resolved value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [text for item in inner for text in _texts(item)]


def test_the_jobs_image_is_asked_for_when_the_stack_is_deployed(made: Any):
    """The job's image differs from the endpoint's; nothing else would check it before the first run."""
    (spec,) = made.resources("Custom::MLOpsServingSpec").values()

    assert any("/mlops-explain@" in str(image) for image in spec["Images"])


def _rules(made: Any, kind: str) -> set[tuple[str, int | None]]:
    other = "SourceSecurityGroupId" if kind == "Ingress" else "DestinationSecurityGroupId"
    found = [rule for name, rule in made.resources(f"AWS::EC2::SecurityGroup{kind}").items() if "JobGroup" in name]
    assert all(rule[other] == rule["GroupId"] for rule in found)
    return {(rule["IpProtocol"], rule.get("FromPort")) for rule in found}


def test_several_instances_have_a_group_that_admits_itself(define_once: Callable[..., Any]):
    """Allows TCP, IKE and ESP within the group, and 443 to the network's endpoints; the unit's group has no ingress."""
    engine = MonitorEngine.processing(image=IMAGE, spark=True, instance_count=3)
    made = define_once(monitor={"spec": MonitorSpec(), "engine": engine})
    rules = {("tcp", 0), ("udp", 500), ("50", 50)}
    assert (_rules(made, "Ingress"), _rules(made, "Egress")) == (rules, rules)
    group = made.one("AWS::EC2::SecurityGroup", "MonitorJobGroup")
    assert [(rule["IpProtocol"], rule["FromPort"]) for rule in group["SecurityGroupEgress"]] == [("tcp", 443)]
    create = next(s for s in made.statements("MonitorStartRole") if s["Action"] == "sagemaker:CreateProcessingJob")
    placed = create["Condition"]["ForAllValues:StringEquals"]["sagemaker:VpcSecurityGroupIds"]
    assert "MonitorJobGroup" in str(placed)


def test_one_instance_stays_in_the_units_group(define_once: Callable[..., Any]):
    """A single instance has no peers."""
    made = define_once(monitor={"spec": MonitorSpec(), "engine": MonitorEngine.processing(image=IMAGE, spark=True)})
    assert not [name for name in made.resources("AWS::EC2::SecurityGroup") if "JobGroup" in name]
