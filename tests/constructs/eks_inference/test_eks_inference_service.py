"""Services on a cluster in a template."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
import yaml
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    Delivery,
    EksCapacity,
    EksCluster,
    EksInferenceService,
    EksTenant,
    Environment,
    GoldenRequests,
    Images,
    ModelImage,
    ModelRegistry,
    Network,
    Profile,
    RolloutChecks,
    RolloutPolicy,
    ValidationError,
)
from mlops_constructs._roles import MAXIMUM_POLICY_CHARACTERS, rendered_length
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.serving_limits import check_spec

BAKE = cdk.Duration.minutes(10)
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html: characters of an inline session policy
SESSION_POLICY = 2048


def _joined(value: Any, token: Callable[[Any], str]) -> str:
    parts = value["Fn::Join"][1] if isinstance(value, dict) else [value]
    return "".join(part if isinstance(part, str) else token(part) for part in parts)


def _arn(part: dict[str, Any]) -> str:
    """Return an ARN or the name of a zone in its deployed form."""
    (kind, inner), *_ = part.items()
    if kind == "Fn::Select":
        return f"us-east-1{'abc'[inner[0]]}"
    name = inner if kind == "Ref" else inner[0]
    if kind == "Ref":
        return str(inner).replace("AWS::", "").lower()
    of = {
        "RuleArn": "elasticloadbalancing:us-east-1:111111111111:listener-rule/app/b/1/2/3",
        "TargetGroupArn": f"elasticloadbalancing:us-east-1:111111111111:targetgroup/{name}/4",
    }
    service = of.get(inner[1], f"iam::111111111111:role/{name}")
    return f"arn:aws:{service}"


def _spec(served: Any) -> ServingSpec:
    return from_json(ServingSpec, _joined(served.one("Custom::MLOpsServingSpec")["Spec"], _arn))


def test_the_spec_is_one_that_the_machine_takes(served: Any) -> None:
    """The rendered spec passes all of preflight's checks."""
    spec = check_spec(_spec(served))
    assert (spec.endpoint, spec.variant, spec.instance_type, spec.instance_count) == (
        "demand-forecast",
        "AllTraffic",
        "",
        0,
    )
    assert spec.eks is not None
    assert not spec.network_isolation
    assert (spec.eks.cluster, spec.eks.namespace, spec.eks.service_account) == ("retail", "demand", "demand-forecast")
    assert (spec.eks.minimum, spec.eks.maximum, spec.eks.cpu, spec.eks.memory) == (2, 10, "1", "1Gi")
    assert set(spec.eks.target_groups) == {"blue", "green"}
    assert {slot: len(names) for slot, names in spec.eks.alarms.items()} == {"blue": 2, "green": 2}
    assert (spec.rollout.kind, spec.rollout.percent, spec.rollout.min_invocations) == ("CANARY", 10, 20)


def test_pods_get_exactly_this_model_and_its_captures(served: Any) -> None:
    """The session policy adds no action or resource and fits the size limit."""
    association = served.one("AWS::EKS::PodIdentityAssociation")
    policy = json.loads(_joined(association["Policy"], lambda part: json.dumps(part).replace('"', "'")))
    statements = policy["Statement"]
    resources = {s["Action"] if isinstance(s["Action"], str) else "kms": s["Resource"] for s in statements}
    assert {action: resource.partition("}")[2] for action, resource in resources.items()} == {
        "s3:GetObject": "/models/demand-forecast/*",
        "kms": "",
        "s3:PutObject": "/capture/demand-forecast/*",
    }
    assert not [s for s in statements if "*" in json.dumps(s["Action"]) or s["Resource"] == "*"]
    assert rendered_length(association["Policy"]) < SESSION_POLICY


def test_pods_go_before_their_captures_are_emptied(place: Any) -> None:
    """Pods stop first: a late call would write an object that blocks the bucket's deletion."""
    made = place(profile=Profile.DEVELOPMENT)
    made.serve(capture=DataCapture(sampling_percent=100))
    (sweep,) = (name for name in made.resources("Custom::BucketSweep") if "Capture" in name)
    (spec,) = made.resources("Custom::MLOpsServingSpec").values()
    assert sweep in spec["DependsOn"]


def test_pods_that_capture_nothing_only_read(developed: Any) -> None:
    """Such pods cannot write objects or create data keys."""
    association = developed.one("AWS::EKS::PodIdentityAssociation")
    policy = json.loads(_joined(association["Policy"], lambda part: json.dumps(part).replace('"', "'")))
    assert sorted(s["Action"] for s in policy["Statement"]) == ["kms:Decrypt", "s3:GetObject"]


def test_the_role_trusts_this_cluster_and_no_tag(served: Any) -> None:
    """Session policies exclude session tags, so a tag condition would lock out every pod (EKS, CreatePodIdentityAssociation)."""
    assert served.one("AWS::EKS::PodIdentityAssociation")["DisableSessionTags"] is True
    role = served.one("AWS::IAM::Role", "ServiceRole3")
    statements = role["AssumeRolePolicyDocument"]["Statement"]
    actions = [a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])]
    assert sorted(actions) == ["sts:AssumeRole", "sts:TagSession"]
    for statement in statements:
        assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Join"][1][-1] == ":cluster/retail"
    assert "RequestTag" not in json.dumps(role)
    assert role["PermissionsBoundary"]


def test_the_machine_shifts_the_weights_of_one_rule(served: Any) -> None:
    """The machine creates nothing in SageMaker, passes no role and changes no other rule."""
    allowed = served.allowed("ServiceRolloutDeployRolePolicy")
    (rule,) = allowed["elasticloadbalancing:ModifyRule"]
    assert rule["Fn::GetAtt"][0].startswith("ServiceLoadBalancerRule")
    assert not [action for action in allowed if action.startswith(("sagemaker:", "iam:", "application-autoscaling:"))]
    changing = [a for a in allowed if a.startswith("elasticloadbalancing:") and ":Describe" not in a]
    assert changing == ["elasticloadbalancing:ModifyRule"]


@pytest.mark.parametrize("part", ["Preflight", "Record"])
def test_what_plans_and_records_looks_and_changes_nothing(served: Any, part: str) -> None:
    """They read the rule, the registry and, with a reader's access entry, the cluster."""
    allowed = served.allowed(f"ServiceRollout{part}RolePolicy")
    of_others = {a for a in allowed if a.startswith(("sagemaker:", "elasticloadbalancing:", "eks:"))}
    assert of_others == {"sagemaker:DescribeModelPackage", "elasticloadbalancing:DescribeRules", "eks:DescribeCluster"}
    (function,) = (
        r["Properties"] for name, r in served.resources("AWS::Lambda::Function").items() if f"Rollout{part}" in name
    )
    environment = function["Environment"]["Variables"]
    assert (environment["TARGET"], environment["CLUSTER"], environment["NAMESPACE"]) == ("EKS", "retail", "demand")
    assert set(json.loads(_joined(environment["TARGET_GROUPS"], _arn))) == {"blue", "green"}
    assert function["VpcConfig"]["SecurityGroupIds"]


def test_the_slots_function_reads_specs_and_finds_the_cluster(served: Any) -> None:
    """Its access entry defines what it may apply."""
    own = {"kms:Decrypt", "kms:GenerateDataKey", "logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}
    allowed = served.allowed("ServiceSlotRolePolicy")
    assert set(allowed) - own == {"s3:GetObject", "elasticloadbalancing:DescribeRules", "eks:DescribeCluster"}
    assert allowed["s3:GetObject"][0]["Fn::Join"][1][-1] == "/specs/demand-forecast/*"
    # and the holder of the lock
    granted = served.allowed("ServiceSlotRoleGranted")
    assert set(granted) == {"dynamodb:GetItem"}
    assert granted["dynamodb:GetItem"][0]["Fn::GetAtt"][0].startswith("ServiceRolloutTable")


def test_what_stores_the_spec_asks_neither_sagemaker_nor_the_cluster(served: Any) -> None:
    """Deletion stops the machine and records that; the manifest resource deletes the slots."""
    allowed = served.allowed("ServiceRolloutServingSpecRolePolicy")
    assert not [action for action in allowed if action.startswith(("sagemaker:", "eks:", "elasticloadbalancing:"))]
    suffixes = {resource["Fn::Join"][1][-1] for resource in allowed["s3:PutObject"]}
    assert suffixes == {
        "/specs/demand-forecast/*",
        "/audit/demand-forecast/*",
        "/heads/demand-forecast/*",
        "/passports/demand-forecast/*",
    }


def test_the_spec_comes_after_all_that_a_rollout_needs(served: Any) -> None:
    """On deletion it goes first: the machine stops while slots and entries still exist."""
    (spec,) = served.resources("Custom::MLOpsServingSpec").values()
    waits = {name[:-8] for name in spec["DependsOn"]}
    assert {
        "ServiceIdentity",
        "ServiceManifests",
        "ServiceSlotEntry",
        "ServicePreflightEntry",
        "ServiceRecordEntry",
    } <= waits
    manifests = served.template["Resources"]["ServiceManifests2051D7FC"]
    waits = {name[:-8] for name in manifests["DependsOn"]}
    assert {"TenantPlace", "TenantApplierEntry", "TenantApiIngress", "ServiceLoadBalancerBlue"} <= waits


def test_a_run_looks_after_each_deployment_of_the_stack(served: Any) -> None:
    """CloudFormation rewrites the rule's weights with any change to the rule, including stack tags."""
    pattern = served.one("AWS::Events::Rule", "ServiceRolloutDeployed")["EventPattern"]
    assert (pattern["source"], pattern["detail-type"]) == (
        ["aws.cloudformation"],
        ["CloudFormation Stack Status Change"],
    )
    assert pattern["detail"] == {
        "stack-id": [{"Ref": "AWS::StackId"}],
        "status-details": {"status": ["UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"]},
    }
    guard = served.one("AWS::Lambda::Function", "ServiceRolloutGuard")
    assert guard["Environment"]["Variables"]["STACK"] == {"Ref": "AWS::StackId"}


def test_slots_go_with_the_stack(served: Any) -> None:
    """Manifests of the Deploy machine are deleted with the service's own."""
    owned = json.loads(served.template["Resources"]["ServiceManifests2051D7FC"]["Properties"]["Owned"])
    assert len(owned) == 10
    assert {(kind, namespace) for _, kind, namespace, _ in owned} == {
        (kind, "demand")
        for kind in ("TargetGroupBinding", "HorizontalPodAutoscaler", "Deployment", "PodDisruptionBudget", "Service")
    }
    assert {name for *_, name in owned} == {"demand-forecast-blue", "demand-forecast-green"}


def test_alarms_are_by_slot_and_silent_without_calls(served: Any) -> None:
    """Latency and unhealthy pods are per target group and notify the topic; errors of both slots are compared."""
    alarms = {
        name[len("ServiceBlue") - 4 : -8]: r["Properties"]
        for name, r in served.resources("AWS::CloudWatch::Alarm").items()
        if name.startswith(("ServiceBlue", "ServiceGreen"))
    }
    assert len(alarms) == 4
    for alarm in alarms.values():
        assert (alarm["TreatMissingData"], len(alarm["AlarmActions"]), alarm["Namespace"]) == (
            "notBreaching",
            1,
            "AWS/ApplicationELB",
        )
        assert {d["Name"] for d in alarm["Dimensions"]} == {"LoadBalancer", "TargetGroup"}
    found = {(a["MetricName"], a.get("Statistic", a.get("ExtendedStatistic")), a["Threshold"]) for a in alarms.values()}
    assert found == {
        ("TargetResponseTime", "p99", 1),
        ("UnHealthyHostCount", "Maximum", 1),
    }


def test_limits_of_the_policy_are_those_of_the_alarms(changed: Any) -> None:
    """Alarms use the limits of the rollout policy."""
    alarms = [a["Properties"] for n, a in changed.resources("AWS::CloudWatch::Alarm").items() if "ServiceGreen" in n]
    thresholds = {a["MetricName"]: a["Threshold"] for a in alarms}
    assert (thresholds["HTTPCode_Target_5XX_Count"], thresholds["TargetResponseTime"]) == (7, 0.25)


def test_metrics_are_those_that_the_load_balancer_publishes(served: Any) -> None:
    """Metrics of the service or of one slot."""
    service = served.stack.node.find_child("Service")
    whole, slot = service.metric_invocations(), service.metric_latency(slot="green", period=cdk.Duration.minutes(1))
    assert (whole.namespace, whole.metric_name, whole.statistic) == ("AWS/ApplicationELB", "RequestCount", "Sum")
    assert set(whole.dimensions) == {"LoadBalancer"}
    assert (slot.metric_name, slot.statistic, set(slot.dimensions)) == (
        "TargetResponseTime",
        "p99",
        {"LoadBalancer", "TargetGroup"},
    )
    by_slot = {
        "RequestCountPerTarget": service.metric_invocations_per_pod(slot="blue"),
        "HealthyHostCount": service.metric_healthy_pods(slot="blue"),
        "UnHealthyHostCount": service.metric_unhealthy_pods(slot="blue"),
    }
    assert {metric.metric_name for metric in by_slot.values()} == set(by_slot)
    assert all("TargetGroup" in metric.dimensions for metric in by_slot.values())
    of_whole = {
        "HTTPCode_Target_2XX_Count": service.metric_invocation_2xx(),
        "HTTPCode_Target_4XX_Count": service.metric_invocation_4xx_errors(),
        "HTTPCode_Target_5XX_Count": service.metric_invocation_5xx_errors(),
        "HTTPCode_ELB_4XX_Count": service.metric_load_balancer_4xx_errors(),
        "HTTPCode_ELB_5XX_Count": service.metric_load_balancer_5xx_errors(),
        "TargetConnectionErrorCount": service.metric_connection_errors(),
        "RejectedConnectionCount": service.metric_rejected_connections(),
        "ActiveConnectionCount": service.metric_active_connections(),
        "ProcessedBytes": service.metric_processed_bytes(),
        "ConsumedLCUs": service.metric_consumed_units(),
        "AnomalousHostCount": service.metric("AnomalousHostCount"),
    }
    assert {metric.metric_name for metric in of_whole.values()} == set(of_whole)


def test_the_command_finds_the_service(served: Any) -> None:
    """The entry names the cluster and the URL for ``mlops invoke``; everything else is as for an endpoint."""
    entries = [
        _joined(r["Properties"]["Value"], lambda _: "token")
        for r in served.resources("AWS::SSM::Parameter").values()
        if "/endpoint/" in str(r["Properties"]["Name"])
    ]
    (entry,) = (json.loads(e) for e in entries if '"demand-forecast"' in e and "rollout_table" in e)
    assert (entry["endpoint"], entry["target"], entry["unit"]) == ("demand-forecast", "EKS", "demand")
    assert entry["url"] == "https://token"


def test_a_repository_gets_what_stands_still(tmp_path: Path) -> None:
    """Writes static manifests to a file beside the templates; the stack applies nothing, but still deletes the slots."""
    app = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(app, "S")
    unit = BusinessUnit(
        stack, "Unit", name="demand", profile=Profile.DEVELOPMENT, network=Network.create(availability_zones=2)
    )
    cluster = EksCluster.from_cluster_attributes(
        stack, "Cluster", name="retail", security_group_id="sg-12345678", subnet_cidrs=["10.0.0.0/16"]
    )
    tenant = EksTenant(stack, "Tenant", business_unit=unit, cluster=cluster)
    service = EksInferenceService(
        stack,
        "Service",
        tenant=tenant,
        registry=ModelRegistry(stack, "Registry", business_unit=unit, name="forecast"),
        name="forecast",
        delivery=Delivery.git_ops(),
    )
    template = app.synth().get_stack_by_name("S").template
    (file,) = tmp_path.glob("asset.*.yaml")
    assert list(yaml.safe_load_all(file.read_text())) == service.manifests
    assert [m["kind"] for m in service.manifests] == ["ServiceAccount", "NetworkPolicy"]
    (resource,) = (r for name, r in template["Resources"].items() if name.startswith("ServiceManifests"))
    assert (resource["Properties"]["Manifests"], len(json.loads(resource["Properties"]["Owned"]))) == ("[]", 10)
    assert service.manifests_url is not None


def test_calls_in_the_clear_are_warned_of(developed: Any) -> None:
    """The warning's id can be acknowledged."""
    Annotations.from_stack(developed.stack).has_warning(
        "/Demand/Service", Match.string_like_regexp("requests to 'demand-forecast' cross the network unencrypted")
    )
    service = developed.stack.node.find_child("Service")
    assert service.url.startswith("http://")
    assert service.capture_bucket is None


def test_the_template_is_the_same_each_time(served: Any, place: Callable[..., Any]) -> None:
    """Uses no clock and no randomness; leaves room for the owner's resources."""
    again = place()
    again.serve(capture=DataCapture(sampling_percent=100))
    assert json.dumps(again.template, sort_keys=True) == json.dumps(served.template, sort_keys=True)
    assert len(served.template["Resources"]) < 150


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Forecast"}, "name must be 2 to 20 lower-case letters"),
        ({"certificate": None}, "certificate must be set in Profile.PRODUCTION, got none"),
        ({"rollout": RolloutPolicy.rolling(batch_percent=50, bake=BAKE)}, "got ROLLING: slots are complete fleets"),
        (
            {"rollout": RolloutPolicy.canary(percent=10, bake=BAKE, checks=RolloutChecks(retained_versions=3))},
            "keep must be 1 on EKS, got 3",
        ),
        ({"capacity": EksCapacity(cpu="10m")}, "cpu must be at least 50m, got '10m'"),
        ({"image": ModelImage.prebuilt("xgboost", "3.0-5")}, "an image that serves needs a digest"),
    ],
)
def test_fails_when_a_service_could_not_be(roomy: Any, changes: dict[str, Any], message: str) -> None:
    """The error has the fix, before deployment."""
    with pytest.raises(ValidationError, match=message):
        roomy.serve(f"Service{abs(hash(message))}", **changes)


def test_pickles_need_pods_that_call_s3_alone(place: Callable[..., Any]) -> None:
    """Pickles may run any code: registries that allow them need pods with restricted egress."""
    for addresses, is_fine in ((["0.0.0.0/0"], False), (["10.0.0.0/16"], True)):
        made = place(egress_cidrs=addresses)
        registry = ModelRegistry(
            made.stack, "Pickles", business_unit=made.unit, name="pickles", trust=("data", "code", "pickle")
        )
        if is_fine:
            made.serve(registry=registry)
            continue
        with pytest.raises(
            ValidationError, match=r"demand-pickles allows pickles, .* got egress_cidrs 0\.0\.0\.0/0; set"
        ):
            made.serve(registry=registry)


def test_pods_share_no_images_with_another_account(roomy: Any) -> None:
    """The cluster's role pulls images, and the registry grants it nothing."""
    here = Environment("staging", account="222222222222", region="eu-west-1")
    stack = cdk.Stack(cdk.App(), "Staging", env=here.cdk)
    registry = ModelRegistry.from_environment(
        stack,
        "Registry",
        business_unit=BusinessUnit(stack, "Unit", name="demand"),
        name="forecast",
        source=Environment("build", account="111111111111", region="eu-west-1"),
        images=Images.SHARED,
    )
    with pytest.raises(
        ValidationError, match=r"demand-forecast may have images of 'build' \(Images.SHARED\), and nodes"
    ):
        roomy.serve("Shared", registry=registry)


def test_a_model_on_probation_is_asked_by_its_slots_listener(place: Any, tmp_path: Path) -> None:
    """The function calls no SageMaker endpoint and reads no rule; the machine creates the alarm and enables the schedule."""
    file = tmp_path / "golden.jsonl"
    file.write_text('{"name": "typical", "body": "{\\"instances\\": [{\\"x\\": 1}]}", "rows": 1}\n')
    checks = RolloutChecks(golden=GoldenRequests.from_file(file), probation=cdk.Duration.hours(1))
    made = place()
    made.serve(rollout=RolloutPolicy.canary(percent=10, bake=cdk.Duration.minutes(10), checks=checks))
    watch = made.one("AWS::Lambda::Function", "RolloutWatch")["Environment"]["Variables"]
    assert ":8002" in json.dumps(watch["SLOT_URLS"])
    allowed = set(made.allowed("RolloutWatchRole"))
    assert {"states:StartExecution", "events:DisableRule", "cloudwatch:DeleteAlarms"} <= allowed
    assert not {"sagemaker:InvokeEndpoint", "elasticloadbalancing:DescribeRules", "eks:DescribeCluster"} & allowed
    machine = made.allowed("RolloutDeployRole")
    (rule,) = machine["events:EnableRule"]
    assert "rule/demand-forecast-probation" in json.dumps(rule)
    assert "alarm:demand-forecast-probation-errors" in json.dumps(machine["cloudwatch:PutMetricAlarm"])
    guard = made.one("AWS::Lambda::Function", "RolloutGuard")["Environment"]["Variables"]
    assert guard["PROBATION_ALARMS"] == "demand-forecast-probation-errors"
    assert made.one("AWS::Events::Rule", "RolloutWatchSchedule")["State"] == "DISABLED"
    policy = made.one("AWS::IAM::ManagedPolicy", "RolloutDeployRole")["PolicyDocument"]
    assert rendered_length(policy) < 0.75 * MAXIMUM_POLICY_CHARACTERS


def test_each_slot_has_a_listener_of_its_own_for_golden_requests(place: Any, tmp_path: Path) -> None:
    """Only the unit's functions reach it; services without golden requests have none."""
    file = tmp_path / "golden.jsonl"
    file.write_text('{"name": "one", "body": "{}", "rows": 1}\n')
    checks = RolloutChecks(golden=GoldenRequests.from_file(file))
    made = place()
    made.serve("Golden", rollout=RolloutPolicy.canary(percent=10, bake=BAKE, checks=checks))
    template = Template.from_stack(made.stack)
    found = template.find_resources("AWS::ElasticLoadBalancingV2::Listener")
    listeners = [each["Properties"] for each in found.values()]
    own = {each["Port"]: each for each in listeners if each["Port"] > 8000}
    assert sorted(own) == [8001, 8002]
    targets = [json.dumps(each["DefaultActions"][0]["TargetGroupArn"]) for each in own.values()]
    assert [("Blue" in each, "Green" in each) for each in targets] == [(True, False), (False, True)]
    assert {each["Protocol"] for each in own.values()} == {each["Protocol"] for each in listeners}
    (out,) = template.find_resources("AWS::EC2::SecurityGroupEgress", {"Properties": {"FromPort": 8001}}).values()
    assert out["Properties"]["ToPort"] == 8002
    (let_in,) = template.find_resources("AWS::EC2::SecurityGroupIngress", {"Properties": {"FromPort": 8001}}).values()
    assert let_in["Properties"]["SourceSecurityGroupId"] == out["Properties"]["GroupId"]
    given = {"Properties": {"Environment": {"Variables": {"SLOT_URLS": Match.any_value()}}}}
    (golden,) = template.find_resources("AWS::Lambda::Function", given).values()
    assert ":8001" in json.dumps(golden["Properties"]["Environment"])
    assert "InvokeEndpoint" not in json.dumps(template.find_resources("AWS::IAM::Policy"))


def test_fails_when_there_is_one_zone() -> None:
    """A load balancer needs two zones."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=Profile.DEVELOPMENT)
    cluster = EksCluster.from_cluster_attributes(
        stack, "Cluster", name="retail", security_group_id="sg-12345678", subnet_cidrs=["10.0.0.0/16"]
    )
    with pytest.raises(ValidationError) as caught:
        EksInferenceService(
            stack,
            "Service",
            tenant=EksTenant(stack, "Tenant", business_unit=unit, cluster=cluster),
            registry=ModelRegistry(stack, "Registry", business_unit=unit, name="forecast"),
            name="forecast",
        )
    assert [problem.split(" ")[0] for problem in caught.value.problems] == ["a"]
    assert "network=Network.create(availability_zones=2)" in caught.value.problems[0]


def test_pods_stay_in_the_zones_of_the_load_balancer(served: Any) -> None:
    """Pods use the zones of the unit's subnets, as CloudFormation resolves them; elsewhere a target is Target.NotInUse."""
    spec = _spec(served).eks
    assert spec is not None
    assert spec.zones == ("us-east-1a", "us-east-1b")


def _given(*subnets: ec2.ISubnet) -> Network:
    stack = cdk.Stack.of(subnets[0])
    vpc = ec2.Vpc.from_vpc_attributes(
        stack, "Vpc", vpc_id="vpc-12345678", availability_zones=["eu-west-1a"], private_subnet_ids=["subnet-12345678"]
    )
    group = ec2.SecurityGroup.from_security_group_id(stack, "Group", "sg-12345678")
    return Network.from_vpc(vpc=vpc, subnets=ec2.SubnetSelection(subnets=list(subnets)), security_group=group)


def _subnets(stack: cdk.Stack, *zones: str) -> list[ec2.ISubnet]:
    return [
        ec2.Subnet.from_subnet_attributes(stack, zone, subnet_id="subnet-12345678", availability_zone=zone)
        for zone in zones
    ]


def _service(network: Network, stack: cdk.Stack, **cluster: Any) -> EksInferenceService:
    unit = BusinessUnit(stack, "Unit", name="demand", profile=Profile.DEVELOPMENT, network=network)
    made = EksCluster.from_cluster_attributes(
        stack,
        "Cluster",
        name="retail",
        security_group_id="sg-0123456789abcdef0",
        subnet_cidrs=["10.0.0.0/20"],
        **cluster,
    )
    tenant = EksTenant(stack, "Tenant", business_unit=unit, cluster=made)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
    return EksInferenceService(stack, "Service", tenant=tenant, registry=registry, name="forecast")


def test_a_load_balancer_may_stand_in_subnets_of_its_own() -> None:
    """Pods follow its zones, whatever the unit's zones are."""
    stack, own = cdk.Stack(cdk.App(), "S"), {"eu-west-1b": "subnet-11111111", "eu-west-1c": "subnet-22222222"}
    service = _service(_given(*_subnets(stack, "eu-west-1a")), stack, load_balancer_subnets=own)
    assert service.load_balancer.zones == ("eu-west-1b", "eu-west-1c")
    (balancer,) = Template.from_stack(stack).find_resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values()
    assert balancer["Properties"]["Subnets"] == ["subnet-11111111", "subnet-22222222"]


def test_fails_when_a_subnets_zone_is_not_known() -> None:
    """Rejected by CDK with the fix: pods outside the load balancer's zones would never become ready."""
    stack = cdk.Stack(cdk.App(), "S")
    with pytest.raises(RuntimeError, match=r"Add the availabilityZone when importing using Subnet\.from"):
        _service(_given(ec2.Subnet.from_subnet_id(stack, "A", "subnet-12345678")), stack)


def test_fails_when_zones_are_ids() -> None:
    """Node labels contain zone names; ``euw1-az1`` is an id, which no node has."""
    stack = cdk.Stack(cdk.App(), "S")
    network = Network.from_shared_vpc(
        vpc_id="vpc-12345678", availability_zones=["euw1-az1", "euw1-az2"], subnet_ids=["subnet-a", "subnet-b"]
    )
    with pytest.raises(
        ValidationError, match="zones must be names of Availability Zones like eu-central-1a, not their ids"
    ):
        _service(network, stack)
