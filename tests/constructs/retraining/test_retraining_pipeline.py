"""Retraining pipelines in a template."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Template

from mlops_constructs import (
    Approval,
    GuardPolicy,
    ModelImage,
    ProcessingStep,
    ServingContainer,
    Spot,
    TrainingJob,
    TrainingSetJob,
    TrainingSetSource,
    ValidationError,
)
from mlops_constructs.compliance.harness import check
from mlops_runtime.contracts.retraining import EvaluationPlan, TrainingSetPlan
from mlops_runtime.layers import layer_wheels

PLAN = TrainingSetPlan(
    name="sales",
    label_group="sales",
    timestamp="event_time",
    label="units",
    features={"sales": ("price",)},
    holdout_days=28,
)


def actions(statements: list[dict[str, Any]]) -> set[str]:
    """Return all actions of statements."""
    return {a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}


def test_the_guard_knows_limits_and_alarms(demand: Any):
    """The function gets cooldown, budget, lock and alarm names."""
    variables = demand.one("AWS::Lambda::Function", "RetrainingGuard")["Environment"]["Variables"]
    assert (variables["PIPELINE"], variables["COOL_DOWN_SECONDS"], variables["DAILY_BUDGET"]) == (
        "demand-forecast",
        "86400",
        "2",
    )
    machine = json.loads(_text(demand.one("AWS::StepFunctions::StateMachine", "RetrainingRetrain")["DefinitionString"]))
    assert int(variables["LOCK_SECONDS"]) == machine["TimeoutSeconds"] + 300
    assert (variables["UNIT"], "REJECTED_COOL_DOWN_SECONDS" in variables) == ("demand", False)
    names = [part["Ref"] for part in variables["ALARM_NAMES"]["Fn::Join"][1] if part != ","]
    assert [name.rstrip("0123456789ABCDEF") for name in names] == ["AlarmsFeatures", "AlarmsQuality"]


def test_alarms_and_requests_feed_the_queue(demand: Any):
    """Alarm changes come from the default bus, requests for this pipeline from the unit's bus."""
    alarms = demand.one("AWS::Events::Rule", "RetrainingAlarms")
    assert alarms["EventPattern"]["detail"]["state"] == {"value": ["ALARM"]}
    assert "EventBusName" not in alarms
    requests = demand.one("AWS::Events::Rule", "RetrainingRequests")
    assert requests["EventPattern"]["source"] == [{"prefix": "mlops.demand/"}]
    assert requests["EventPattern"]["detail"] == {"subject": ["demand-forecast"]}
    assert "EventBusName" in requests


def test_a_schedule_is_a_rule_of_its_own(define: Callable[..., Any]):
    """A persistent alarm changes its state once, so a schedule can check again."""
    rule = define(retraining={"guard": GuardPolicy(interval=cdk.Duration.days(1))}).one(
        "AWS::Events::Rule", "RetrainingSchedule"
    )
    assert rule["ScheduleExpression"] == "rate(1 day)"


def test_an_alarm_that_stays_on_is_asked_about_every_hour(demand: Any):
    """A rule of the guard checks it; ends of executions that could not release their lock reach the same queue."""
    recheck = demand.one("AWS::Events::Rule", "RetrainingRecheck")
    assert recheck["ScheduleExpression"] == "rate(1 hour)"
    variables = demand.one("AWS::Lambda::Function", "RetrainingGuard")["Environment"]["Variables"]
    assert variables["RECHECK_RULE"]["Fn::GetAtt"][0].startswith("RetrainingRecheck")
    ended = demand.one("AWS::Events::Rule", "RetrainingEnded")["EventPattern"]
    assert ended["source"] == ["aws.states"]
    assert ended["detail"]["status"] == ["ABORTED", "FAILED", "TIMED_OUT"]
    assert ended["detail"]["stateMachineArn"][0]["Ref"].startswith("RetrainingRetrain")


def test_new_labels_are_counted_where_they_are_wanted(define: Callable[..., Any]):
    """Counts rows of the label group's table; the guard also gets a longer pause after rejections."""
    made = define(retraining={"guard": GuardPolicy(min_labels=5000, rejected_cooldown=cdk.Duration.days(7))})
    rule = made.one("AWS::Events::Rule", "RetrainingNewData")
    assert rule["EventPattern"]["detail-type"] == ["MLOps Features Ingested"]
    assert rule["EventPattern"]["detail"] == {"subject": ["sales_v1"]}
    variables = made.one("AWS::Lambda::Function", "RetrainingGuard")["Environment"]["Variables"]
    assert (variables["MINIMUM_LABELS"], variables["LABEL_TABLE"]) == ("5000", "sales_v1")
    assert variables["REJECTED_COOL_DOWN_SECONDS"] == "604800"
    assert "LABEL_DATABASE" in variables
    (read,) = (s for s in made.statements("RetrainingGuardRole") if s["Action"] == "s3:GetObject")
    assert "sales_v1/metadata/*.metadata.json" in json.dumps(read["Resource"])


def test_the_pipeline_can_be_found_by_the_command(demand: Any):
    """The entry names table, machine and queue."""
    entry = json.loads(_text(demand.one("AWS::SSM::Parameter", "RetrainingEntry")["Value"]))
    assert (entry["pipeline"], entry["group"]) == ("demand-forecast", "demand-forecast")


def test_the_entry_says_what_is_measured(demand: Any):
    """A client can cut, compare and refuse without reading the stack; the pipeline builds the sets itself."""
    entry = json.loads(_text(demand.one("AWS::SSM::Parameter", "RetrainingEntry")["Value"]))
    assert (entry["metric"], entry["label"], entry["block"]) == ("wape", "units", "store")
    assert entry["baselines"] == ["price"]
    assert (entry["endpoint"], entry["timestamp"]) == ("demand-forecast", "event_time")
    assert (entry["confidence"], entry["resamples"], entry["seed"]) == (0.95, 2000, 7)
    assert "training_set" not in entry


def test_decisions_are_a_metric_of_the_unit(demand: Any):
    """Counts each decision that answers a request."""
    pipeline = demand.retraining
    metric = pipeline.metric_decisions("OVER_BUDGET", label="refused")
    assert (metric.namespace, metric.metric_name, metric.label) == ("MLOps/demand", "RetrainingDecisions", "refused")
    assert metric.dimensions == {"Pipeline": "demand-forecast", "Decision": "OVER_BUDGET"}
    with pytest.raises(ValidationError, match=r"decision must be one of STARTED, .*, got 'RELEASED'"):
        pipeline.metric_decisions("RELEASED")


def test_guard_and_gate_know_whether_automation_rests(demand: Any):
    """Both read the unit's row and nothing else of it."""
    for role in ("RetrainingGuardRole", "RetrainingGateRole"):
        reads = [s for s in demand.statements(role) if s["Action"] == "dynamodb:GetItem"]
        assert any("UnitAutomation" in json.dumps(s["Resource"]) for s in reads)
    gate = demand.one("AWS::Lambda::Function", "RetrainingGate")["Environment"]["Variables"]
    assert (gate["UNIT"], "FREEZE" in gate, "AUTOMATION_TABLE" in gate) == ("demand", True, True)


def test_the_gate_reads_what_apis_promise_of_the_endpoint(demand: Any):
    """The gate reads the endpoint's row and specs, and no others."""
    statements = demand.statements("RetrainingGateRole")
    (row,) = [s for s in statements if s["Action"] == "dynamodb:GetItem" and "Rollout" in json.dumps(s["Resource"])]
    assert "EndpointRolloutTable" in json.dumps(row["Resource"])
    read = json.dumps([s["Resource"] for s in statements if "s3:GetObject" in actions([s])])
    assert re.findall(r"/specs/([^\"]+)", read) == ["demand-forecast/*"]
    gate = demand.one("AWS::Lambda::Function", "RetrainingGate")["Environment"]["Variables"]
    assert gate["ENDPOINT"] == "demand-forecast"


def test_a_function_tags_and_the_job_cannot_commit(demand: Any):
    """Only one role of retraining updates a table's entry; it reads no row and overwrites no file, and the job writes no table."""
    job, tags = (demand.statements(f"Retraining{name}Role") for name in ("TrainingSet", "Tags"))
    assert not {action for action in actions(job) if action.startswith("glue:Update")}
    written = [json.dumps(s["Resource"]) for s in job if "s3:PutObject" in actions([s])]
    assert not any("FeaturesData" in arns for arns in written)
    assert {action for action in actions(tags) if action.startswith(("glue:", "s3:"))} == {
        "glue:GetTable",
        "glue:UpdateTable",
        "s3:GetObject",
        "s3:PutObject",
    }
    for statement in (s for s in tags if actions([s]) & {"s3:GetObject", "s3:PutObject"}):
        assert json.dumps(statement["Resource"]).endswith('/metadata/*.metadata.json"]]}')
    (put,) = (s for s in tags if "s3:PutObject" in actions([s]))
    assert put["Condition"] == {"Null": {"s3:if-none-match": "false"}}
    others = ("TrainingRole", "EvaluationRole", "RetrainRole", "GateRole")
    assert not any("glue:UpdateTable" in actions(demand.statements(f"Retraining{role}")) for role in others)


def _image() -> ModelImage:
    return ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


def test_spot_checkpoints_and_a_step_have_exactly_their_rights(define: Callable[..., Any], tmp_path: Path):
    """The step reads the training split and writes its own prefix; training reads both and writes checkpoints."""
    folder = tmp_path / "step"
    folder.mkdir()
    (folder / "train.py").write_text("pass")
    common = {"image": _image(), "source": folder, "script": "train.py", "max_runtime": cdk.Duration.hours(1)}
    made = define(
        retraining={
            "training": TrainingJob(
                **common,
                instance_type="ml.m5.large",
                spot=Spot(max_wait=cdk.Duration.hours(3)),
                checkpoints=True,
                network_isolation=False,
            ),
            "processing": ProcessingStep(**common, instance_type="ml.m5.xlarge"),
        }
    )
    step, train = (made.statements(f"Retraining{name}Role") for name in ("Processing", "Training"))
    written = [suffix for s in step if "s3:PutObject" in actions([s]) for suffix in _suffixes(s)]
    assert written == ["/processed/demand-forecast/*"]
    assert any(
        suffix == "/sets/sales/*/train/*" for s in step if "s3:GetObject" in actions([s]) for suffix in _suffixes(s)
    )
    read = [suffix for s in train if actions([s]) == {"s3:GetObject"} for suffix in _suffixes(s)]
    assert "/sets/sales/*/train/*" in read
    assert not [suffix for suffix in read if suffix.startswith("/sets") and "train" not in suffix]
    written = [suffix for s in train if "s3:PutObject" in actions([s]) for suffix in _suffixes(s)]
    assert sorted(written) == ["/checkpoints/demand-forecast/*", "/training/demand-forecast/*"]
    found = {
        s["Action"]: s["Condition"]
        for s in made.statements("RetrainJobs")
        if "Condition" in s and isinstance(s["Action"], str)
    }
    assert "Bool" not in found["sagemaker:CreateTrainingJob"]
    types = "ForAnyValue:StringEquals"
    assert found["sagemaker:CreateProcessingJob"][types] == {"sagemaker:InstanceTypes": ["ml.m5.large", "ml.m5.xlarge"]}
    assert found["sagemaker:CreateTrainingJob"][types] == {"sagemaker:InstanceTypes": ["ml.m5.large"]}


def test_jobs_on_local_storage_are_held_to_their_type_instead_of_a_key(define: Callable[..., Any], tmp_path: Path):
    """SageMaker rejects a volume key there; a job of another type still needs the unit's key."""
    folder = tmp_path / "step"
    folder.mkdir()
    (folder / "train.py").write_text("pass")
    common = {"image": _image(), "source": folder, "script": "train.py", "max_runtime": cdk.Duration.hours(1)}
    made = define(
        retraining={
            "training": TrainingJob(**common, instance_type="ml.m5.large"),
            "processing": ProcessingStep(**common, instance_type="ml.g4dn.xlarge"),
        }
    )
    conditions = [
        s["Condition"] for s in made.statements("RetrainJobs") if s["Action"] == "sagemaker:CreateProcessingJob"
    ]
    held = {
        one["ForAnyValue:StringEquals"]["sagemaker:InstanceTypes"][0]: set(one["StringEquals"]) for one in conditions
    }
    assert held == {
        "ml.m5.large": {"sagemaker:VolumeKmsKey", "sagemaker:OutputKmsKey"},
        "ml.g4dn.xlarge": {"sagemaker:OutputKmsKey"},
    }


def test_a_metric_function_reaches_evaluation_and_gate_alone(define: Callable[..., Any], tmp_path: Path):
    """The evaluation's role may read the file; plan and gate have its hash; other jobs do not."""
    (tmp_path / "train.py").write_text("pass")
    (tmp_path / "metric.py").write_text("def loss(label, prediction):\n    return 0.0\n")
    digest = hashlib.sha256((tmp_path / "metric.py").read_bytes()).hexdigest()
    training = TrainingJob(
        image=_image(),
        source=tmp_path,
        script="train.py",
        instance_type="ml.m5.large",
        max_runtime=cdk.Duration.hours(1),
        metric="metric.py",
    )
    plan = EvaluationPlan(label="units", block="store", baselines=("price",), metric="custom_loss")
    made = define(retraining={"training": training, "evaluation": plan})
    gate = made.one("AWS::Lambda::Function", "RetrainingGate")["Environment"]["Variables"]["GATE"]
    assert json.loads(gate)["metric_sha256"] == digest
    machine = json.loads(_text(made.one("AWS::StepFunctions::StateMachine", "RetrainingRetrain")["DefinitionString"]))
    having = set()
    for name, state in machine["States"].items():
        arguments = state.get("Arguments", {})
        if any(each["InputName"] == "metric" for each in arguments.get("ProcessingInputs", ())):
            having.add(name)
            assert f'"metric_sha256":"{digest}"' in "".join(arguments["AppSpecification"]["ContainerArguments"])
    assert having == {"Evaluate", "EvaluateAgainstChampion", "EvaluateAgainstPredictions"}
    reads = {
        role: [
            s for s in made.statements(f"Retraining{role}Role") if "s3:GetObject" in actions([s]) and "cdk-" in str(s)
        ]
        for role in ("Evaluation", "Prediction")
    }
    assert {role: len(found) for role, found in reads.items()} == {"Evaluation": 1, "Prediction": 0}


def test_a_container_of_others_is_asked_with_exactly_its_rights(define: Callable[..., Any], tmp_path: Path):
    """Its server reads models and requested rows and writes answers only; the machine creates it isolated."""
    (tmp_path / "train.py").write_text("pass")
    other = ModelImage.from_ecr(repository_name="mlflow", digest="sha256:" + "5" * 64)
    training = TrainingJob(
        image=_image(),
        source=tmp_path,
        script="train.py",
        instance_type="ml.m5.large",
        max_runtime=cdk.Duration.hours(1),
        serving=ServingContainer(image=other),
    )
    made = define(retraining={"training": training})
    rows, server = (made.statements(f"Retraining{name}Role") for name in ("Rows", "Server"))
    objects = {
        name: {
            action: [suffix for s in found if actions([s]) == {action} for suffix in _suffixes(s)]
            for action in ("s3:GetObject", "s3:PutObject")
        }
        for name, found in (("rows", rows), ("server", server))
    }
    predictions = "/predictions/demand-forecast/*"
    assert objects["rows"] == {
        "s3:GetObject": ["/sets/sales/*/holdout/*", "/models/demand-forecast/*"], "s3:PutObject": [predictions],
    }  # fmt: skip
    assert objects["server"] == {
        "s3:GetObject": ["/models/demand-forecast/*", f"{predictions}/rows/*"],
        "s3:PutObject": [f"{predictions}/answers/*"],
    }
    assert not {action for action in actions(server) if action.startswith(("sagemaker", "iam", "glue", "lambda"))}
    found = {name: s for s in made.statements("RetrainServers") for name in actions([s])}
    assert set(found) == {
        "sagemaker:CreateModel", "sagemaker:DeleteModel", "sagemaker:DescribeModel", "sagemaker:CreateTransformJob",
        "sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob", "sagemaker:AddTags", "events:DescribeRule",
        "events:PutRule", "events:PutTargets", "iam:PassRole",
    }  # fmt: skip
    assert found["sagemaker:CreateModel"]["Condition"]["Bool"] == {"sagemaker:NetworkIsolation": "true"}
    requested = found["sagemaker:CreateTransformJob"]["Condition"]
    assert set(requested["StringEquals"]) == {"sagemaker:VolumeKmsKey", "sagemaker:OutputKmsKey"}
    assert "sagemaker:ModelArn" in requested["ArnLike"]
    registered = [s for s in made.statements("RetrainingRetrain") if "ecr:BatchGetImage" in actions([s])]
    assert "mlflow" in json.dumps(registered) or not registered
    entry = json.loads(_text(made.one("AWS::SSM::Parameter", "RetrainingEntry")["Value"]))
    assert (entry["container_trust"], entry["asks_servers"]) == ("code", True)
    former = TrainingJob(
        image=_image(),
        source=tmp_path,
        script="train.py",
        instance_type="ml.m5.large",
        max_runtime=cdk.Duration.hours(1),
        former_serving=ServingContainer(image=other),
    )
    again = define(retraining={"training": former})
    assert [again.statements(f"Retraining{name}Role") for name in ("Rows", "Server")] == [rows, server]
    entry = json.loads(_text(again.one("AWS::SSM::Parameter", "RetrainingEntry")["Value"]))
    assert ("container_trust" in entry, entry["asks_servers"]) == (False, True)
    plain = define()
    assert "asks_servers" not in _text(plain.one("AWS::SSM::Parameter", "RetrainingEntry")["Value"])
    with pytest.raises(ValidationError, match="former_serving must not be given with serving"):
        replace(former, serving=ServingContainer(image=other))


def test_a_set_from_s3_needs_no_role_for_features(define: Callable[..., Any]):
    """Training and evaluation read the prefix, and decrypt with the bucket's own key."""
    stack = cdk.Stack(cdk.App(), "Other")
    key = kms.Key.from_key_arn(stack, "Key", "arn:aws:kms:us-east-1:123456789012:key/2")
    bucket = s3.Bucket.from_bucket_attributes(stack, "Data", bucket_name="data", encryption_key=key)
    source = TrainingSetSource.s3(bucket=bucket, prefix="exports/demand", label="units")
    made = define(retraining={"training_set": source, "store": None})
    assert made.statements("RetrainingTrainingSetRole") == []
    entry = json.loads(_text(made.one("AWS::SSM::Parameter", "RetrainingEntry")["Value"]))
    assert entry["training_set"] == "s3://data/exports/demand"
    for role in ("RetrainingTrainingRole", "RetrainingEvaluationRole"):
        statements = made.statements(role)
        assert any("data/exports/demand/" in json.dumps(s["Resource"]) for s in statements)
        assert any("key/2" in json.dumps(s["Resource"]) for s in statements if s["Action"] == "kms:Decrypt")
    machine = _text(made.one("AWS::StepFunctions::StateMachine", "RetrainingRetrain")["DefinitionString"])
    assert "'TrainingSet'" not in machine
    assert "s3://data/exports/demand" in machine


def test_each_job_has_a_role_that_does_one_thing(demand: Any):
    """Training reads no feature table, the training-set job writes no model, evaluation writes neither."""
    sets, train, evaluate = (
        demand.statements(f"Retraining{name}Role") for name in ("TrainingSet", "Training", "Evaluation")
    )
    assert "glue:GetTable" in actions(sets)
    assert not [a for a in actions(train) | actions(evaluate) if a.startswith("glue:")]
    written = {
        name: [r for s in found if "s3:PutObject" in actions([s]) for r in _suffixes(s)]
        for name, found in (("sets", sets), ("train", train), ("evaluate", evaluate))
    }
    assert written["train"] == ["/training/demand-forecast/*"]
    assert written["evaluate"] == ["/evaluations/demand-forecast/*"]
    assert not [suffix for suffix in written["sets"] if "models" in suffix]


def test_jobs_start_encrypted_in_the_units_network(demand: Any):
    """Training is isolated; processing jobs read Glue and may use the unit's network."""
    found = {
        s["Action"]: s["Condition"]
        for s in demand.statements("RetrainJobs")
        if "Condition" in s and isinstance(s["Action"], str)
    }
    training, processing = found["sagemaker:CreateTrainingJob"], found["sagemaker:CreateProcessingJob"]
    assert training["Bool"] == {"sagemaker:NetworkIsolation": "true"}
    assert "Bool" not in processing
    for condition in (training, processing):
        assert set(condition["StringEquals"]) == {"sagemaker:VolumeKmsKey", "sagemaker:OutputKmsKey"}
        assert condition["Null"] == {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"}


def test_only_automatic_approval_lets_the_machine_approve(demand: Any, define: Callable[..., Any]):
    """With manual approval the machine cannot approve."""
    assert "sagemaker:UpdateModelPackage" in actions(demand.statements("RetrainRole"))
    manual = define(registry={"approval": Approval.manual()})
    assert "sagemaker:UpdateModelPackage" not in actions(manual.statements("RetrainRole"))


def test_grant_request_is_bound_to_the_callers_own_id(define: Callable[..., Any]):
    """Callers request in their own name only, put no other event on the bus, and may read the outcome."""
    made = define()
    made.retraining.grant_request(
        iam.Role(made.stack, "Caller", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    )
    policies = Template.from_stack(made.stack).to_json()["Resources"].items()
    (policy,) = (r for n, r in policies if r["Type"] == "AWS::IAM::Policy" and n.startswith("Caller"))
    statement, *reads = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "events:PutEvents"
    assert {each["Action"] for each in reads} == {
        "kms:Decrypt",
        "ssm:GetParameter",
        "dynamodb:GetItem",
        "states:DescribeExecution",
    }
    assert all("Condition" in each for each in reads if each["Action"] == "kms:Decrypt")
    bound = {"events:source": "mlops.demand/${aws:userid}", "events:detail-type": "MLOps Retraining Requested"}
    assert statement["Condition"] == {"StringEquals": bound}


def test_who_registers_may_write_below_one_prefix(define: Callable[..., Any]):
    """They may also read the outcome, but nothing else of bucket and table, and no other execution."""
    made = define()
    made.retraining.grant_register(iam.Role(made.stack, "Caller", assumed_by=iam.AccountRootPrincipal()))
    policies = Template.from_stack(made.stack).to_json()["Resources"].items()
    (policy,) = (r for n, r in policies if r["Type"] == "AWS::IAM::Policy" and n.startswith("Caller"))
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    (put,) = (s for s in statements if s["Action"] == "s3:PutObject")
    (read,) = (s for s in statements if s["Action"] == "s3:GetObject")
    assert "/specs/demand-forecast/*" in json.dumps(read["Resource"])
    assert "/registered/demand-forecast/*" in json.dumps(put["Resource"])
    assert {
        action for s in statements for action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
    } == {
        "events:PutEvents",
        "s3:PutObject",
        "s3:GetObject",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "ssm:GetParameter",
        "dynamodb:GetItem",
        "states:DescribeExecution",
    }
    assert all("Condition" in s for s in statements if "kms" in str(s["Action"]))


def test_who_reads_runs_changes_nothing(define: Callable[..., Any]):
    """Reads no model and no training set, and only logs of the pipeline's own jobs."""
    made = define()
    made.retraining.grant_read_runs(iam.Role(made.stack, "Caller", assumed_by=iam.AccountRootPrincipal()))
    policies = Template.from_stack(made.stack).to_json()["Resources"].items()
    (policy,) = (r for n, r in policies if r["Type"] == "AWS::IAM::Policy" and n.startswith("Caller"))
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    assert actions(statements) == {
        "dynamodb:GetItem",
        "dynamodb:Query",
        "kms:Decrypt",
        "logs:DescribeLogStreams",
        "logs:GetLogEvents",
        "s3:GetObject",
        "s3:ListBucket",
        "sagemaker:DescribeProcessingJob",
        "sagemaker:DescribeTrainingJob",
        "sagemaker:ListModelPackages",
        "ssm:GetParameter",
        "states:DescribeExecution",
        "states:ListExecutions",
    }
    (objects,) = (s for s in statements if s["Action"] == "s3:GetObject")
    assert re.findall(r"/(\w+)/demand-forecast/\*", json.dumps(objects["Resource"])) == ["evaluations", "gates"]
    (events,) = (s for s in statements if s["Action"] == "logs:GetLogEvents")
    assert all("log-stream:demand-forecast-*" in json.dumps(arn) for arn in events["Resource"])


def test_no_role_of_the_unit_may_ask_in_a_persons_name(define: Callable[..., Any]):
    """Events of roles have the unit's source, which requests by people do not have."""
    resources = Template.from_stack(define().stack).to_json()["Resources"].values()
    policies = [r["Properties"]["PolicyDocument"] for r in resources if r["Type"] == "AWS::IAM::ManagedPolicy"]
    puts = [s for policy in policies for s in policy["Statement"] if s.get("Action") == "events:PutEvents"]
    assert len(puts) >= 2
    assert [s["Condition"] for s in puts] == [{"StringEquals": {"events:source": "mlops.demand"}}] * len(puts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a" * 30}, "<unit>-<name> must have at most 32 characters"),
        ({"name": ""}, "InvalidRetrainingPipeline: name must be letters, digits and hyphens, got ''"),
        ({"name": "*"}, r"name must be letters, digits and hyphens, got '\*'"),
        ({"name": "Sales Q1"}, "name must be letters, digits and hyphens, got 'Sales Q1'"),
        ({"name": "ä"}, "name must be letters, digits and hyphens, got 'ä'"),
        ({"guard": GuardPolicy(max_runs_per_day=0)}, "max_runs_per_day must be from 1 to 24, got 0"),
        ({"guard": GuardPolicy(cooldown=cdk.Duration.days(366))}, "cooldown must be from"),
        ({"guard": GuardPolicy(interval=cdk.Duration.seconds(1))}, "interval must be from"),
        ({"guard": GuardPolicy(recheck_interval=cdk.Duration.seconds(1))}, "recheck_interval must be from"),
        (
            {"guard": GuardPolicy(rejected_cooldown=cdk.Duration.hours(1))},
            "rejected_cooldown must be from 1 day to 365 days, got 1 hour",
        ),
        ({"guard": GuardPolicy(min_labels=0)}, "min_labels must be from 1 to"),
        ({"store": None}, "store must be given: a TrainingSetPlan is built from a feature store"),
        (
            {"evaluation": EvaluationPlan(label="price", block="b", baselines=())},
            "evaluation.label must be the training set's 'units'",
        ),
        (
            {"training_set": replace(PLAN, features={"stock": ("a",)})},
            "training_set names group 'stock', the store has 'sales'",
        ),
        (
            {"training_set": replace(PLAN, features={"sales": ("cost",)})},
            "training_set uses 'cost' of group 'sales', which has",
        ),
    ],
)
def test_fails_when_an_argument_cannot_work(refused: Callable[..., None], changes: dict[str, Any], message: str):
    """Rejects at synthesis what could only fail at run time."""
    with pytest.raises(ValidationError, match=message):
        refused(retraining=changes)


def test_fails_when_alarms_are_added_twice(define: Callable[..., Any]):
    """The guard has one list of alarms."""
    made = define()
    with pytest.raises(ValidationError, match="alarms were added before"):
        made.retraining.add_alarms(made.alarms.alarms)


def _text(value: Any) -> str:
    parts = value["Fn::Join"][1] if isinstance(value, dict) else [value]
    return "".join(part if isinstance(part, str) else "x" for part in parts)


def _suffixes(statement: dict[str, Any]) -> list[str]:
    resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
    return [resource["Fn::Join"][1][-1] for resource in resources]


def test_the_training_job_is_told_of_the_signature(define: Callable[..., Any], tmp_path: Path):
    """The model's environment has it; other jobs get no additional hyperparameter."""
    (tmp_path / "train.py").write_text("pass")
    (tmp_path / "requirements.lock").write_text(f"numpy==2.5.5 --hash=sha256:{'0a' * 32}\n")
    training = TrainingJob(
        image=ModelImage.from_requirements(tmp_path / "requirements.lock"),
        source=tmp_path,
        script="train.py",
        instance_type="ml.m5.large",
        max_runtime=cdk.Duration.hours(1),
    )
    unit = define(retraining={"training": training})
    machine = json.loads(_text(unit.one("AWS::StepFunctions::StateMachine", "RetrainingRetrain")["DefinitionString"]))
    (given,) = (found["HyperParameters"] for found in _arguments(machine) if "HyperParameters" in found)
    plan = json.loads(given["sagemaker_signature"])
    assert (plan["label"], plan["kind"]) == ("units", "number")
    assert plan["without"][0] == "event_time"


def _arguments(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects in a definition."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _arguments(each)
    elif isinstance(value, list):
        for each in value:
            yield from _arguments(each)


def test_the_machine_may_run_one_job_where_one_builds_large_sets(
    own_foundation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Grants that job's ARN and what following its run needs; the function gets the memory of the training-set job."""
    # an empty file in place of the wheels of ``mlops assets build --glue``
    monkeypatch.setattr(layer_wheels, "glue_archive_path", lambda _name: tmp_path / "features.zip")
    (tmp_path / "features.zip").write_bytes(b"")
    job = TrainingSetJob(own_foundation.stack, "Builds", business_unit=own_foundation.unit, store=own_foundation.store)
    own_foundation.retraining("Large", name="large", training_set_job=job)
    template = Template.from_stack(own_foundation.stack).to_json()["Resources"]
    policies = [
        resource["Properties"]["PolicyDocument"]["Statement"]
        for name, resource in template.items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith("LargeRetrainJobs")
    ]
    (runs,) = [each for each in policies[0] if "glue:StartJobRun" in each["Action"]]
    assert runs["Action"] == ["glue:BatchStopJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:StartJobRun"]
    assert json.dumps(runs["Resource"]).count(own_foundation.stack.get_logical_id(job.node.find_child("Job"))) == 1
    (tags,) = [
        resource["Properties"]["Environment"]["Variables"]
        for name, resource in template.items()
        if resource["Type"] == "AWS::Lambda::Function" and name.startswith("LargeTags")
    ]
    assert tags["MEMORY"] == str(6 * 2**30)


def test_refuses_a_job_of_another_store_and_one_for_a_set_from_s3(refused: Callable[..., None], foundation: Any):
    """Each error names the alternative."""
    other = SimpleNamespace(
        job_name="b", job_arn="arn:b", max_runtime=cdk.Duration.hours(1), store=SimpleNamespace(database_name="other")
    )
    with pytest.raises(ValidationError, match=r"belongs to store other, the plan's store is demand_features; use a"):
        refused(retraining={"training_set_job": other})
    source = TrainingSetSource.s3(bucket=foundation.unit.artifacts, prefix="exports/a", label="units")
    with pytest.raises(ValidationError, match=r"requires a TrainingSetPlan, got a training set from S3; leave it out"):
        refused(retraining={"training_set_job": other, "training_set": source, "store": None})


def test_a_chat_hears_of_what_waits_and_nothing_is_left_to_ask(define: Callable[..., Any]) -> None:
    """The machine may publish to both topics, and no pack has an open finding."""
    scratch = cdk.Stack(cdk.App(), "Scratch")
    chats = sns.Topic.from_topic_arn(scratch, "Chats", "arn:aws:sns:us-east-1:123456789012:chats")
    made = define(registry={"approval": Approval.automatic(chat_topic=chats)})
    (publish,) = (s for s in made.statements("RetrainingRetrain") if "sns:Publish" in s["Action"])
    assert [chats.topic_arn in str(publish), "UnitTopic" in str(publish)] == [True, True]
    assert "TellChat" in json.dumps(made.one("AWS::StepFunctions::StateMachine", "Retrain"))
    app = made.stack.node.root
    assert isinstance(app, cdk.App)
    (found,) = check(app).stacks
    assert found.problems == []
