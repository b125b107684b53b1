"""The Retrain machine's world: the same account, with the retraining lock held by the execution."""

import json
from collections.abc import Mapping
from typing import Any

from tests.campaign.account import ACCOUNT, ENDPOINT, GROUP, OLD, REGION, Account, boto3_dynamodb
from tests.campaign.deploy import Deploy
from tests.campaign.machine import PREFIX, Fault, Run, run, tasks_of
from tests.passed import put_passed
from tests.signing import KEY

from mlops_constructs.retraining.job_requests import FeaturePlan, JobEnvironment
from mlops_constructs.retraining.retrain_machine import Registration, RetrainPlan, retrain_machine
from mlops_runtime.contracts.retraining import EvaluationPlan, JobTags, TrainingSetPlan
from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.retraining.retraining_start import GuardTable

ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
JOBS = JobEnvironment(
    pipeline=ENDPOINT,
    image_uri=f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlops-runtime@sha256:{'1' * 64}",
    instance_type="ml.m5.large",
    maximum=3600,
    roles=dict.fromkeys(("set", "prep", "train", "live", "eval"), ROLE),
    subnets=["subnet-1"],
    security_groups=["sg-1"],
    kms_key="arn:aws:kms:us-east-1:123456789012:key/1",
    artifacts_bucket="artifacts",
    training_set="'s3://sets/sets/demand/' & $name",
    tags=JobTags(unit="demand", owner="ann", cost_center="42", model="forecast", execution="{% $execution %}"),
)


def machine_of(*, is_automatic: bool) -> Mapping[str, Any]:
    """Return the machine of a pipeline whose packages are approved by policy, or by a person."""
    return retrain_machine(
        RetrainPlan(
            pipeline=ENDPOINT,
            unit_name="demand",
            endpoint_name=ENDPOINT,
            jobs=JOBS,
            features=FeaturePlan(
                plan=TrainingSetPlan(
                    name="demand",
                    label_group="sales",
                    timestamp="week",
                    label="units",
                    features={"price": ("mean",)},
                    holdout_days=28,
                ),
                database="demand_features",
                tables=("weekly_demand_v1",),
                read=("weekly_demand_v1",),
                tags_arn="arn:aws:lambda:us-east-1:123456789012:function:tags",
                manifests="s3://manifests/manifests",
                catalog="arn:aws:glue:us-east-1:123456789012",
                lineage="s3://manifests/lineage",
                namespace="mlops.demand",
            ),
            evaluation=EvaluationPlan(label="units", block="store", baselines=("last_week",)),
            script="train.py",
            code_uri="s3://assets/code.zip",
            gate_arn="arn:aws:lambda:us-east-1:123456789012:function:gate",
            record_arn="arn:aws:lambda:us-east-1:123456789012:function:record",
            rollout_table="rollout",
            retraining_table="retraining",
            bus_name="demand",
            topic_arn="arn:aws:sns:us-east-1:123456789012:demand",
            registration=Registration(
                group_name=GROUP,
                image_uri=JOBS.image_uri,
                code_sha256="d" * 64,
                is_automatic=is_automatic,
                waiting_message={
                    "TopicArn": "arn:aws:sns:us-east-1:123456789012:t",
                    "Subject": "a model waits",
                    "Message": "{% $package & ' waits: ' & $reason %}",
                },
                waiting_notification={
                    "TopicArn": "arn:aws:sns:us-east-1:123456789012:chat",
                    "Message": "{% $string({'version': '1.0', 'source': 'custom', 'content': {'description': $reason}}) %}",
                },
            ),
        )
    )


# courses of a retraining, which together reach every task of its definitions
SCENARIOS: dict[str, dict[str, Any]] = {
    "is approved by policy": {},
    "waits for a person": {"is_automatic": False},
    "is left pending in a pause": {"may_approve": False},
    "is rejected": {"verdict": "FAILED"},
    "has no champion": {"serves": False},
    "was made elsewhere": {"is_brought": True},
    "asks people": {"is_question": True},
    "has a champion of another image": {"has_image": True},
    "fails to train": {"meets": Fault("sagemaker:createTrainingJob.sync train", "5xx", always=True)},
}
OUTCOMES = {
    "waits for a person": "REGISTERED",
    "is left pending in a pause": "REGISTERED",
    "is rejected": "REJECTED",
    "asks people": "ASKED",
    "fails to train": "FAILED",
}  # the others are approved
TASKS = frozenset(name for is_automatic in (True, False) for name in tasks_of(machine_of(is_automatic=is_automatic)))


class Retrain:
    """An endpoint that serves package 1, and a retraining that holds its lock.

    Args:
        account: The account.
        verdict: The gate's verdict on the candidate.
        may_approve: Whether the unit's automation is active.
        is_automatic: Whether the policy approves.
        is_brought: Whether the model was trained elsewhere.
        is_question: Whether a person decides instead.
        has_image: Whether the champion has an image of its own, in which it predicts the holdout.
        meets: Faults of each execution.
    """

    def __init__(
        self,
        account: Account,
        *,
        verdict: str = "PASSED",
        may_approve: bool = True,
        is_automatic: bool = True,
        is_brought: bool = False,
        is_question: bool = False,
        has_image: bool = False,
        meets: Fault | None = None,
    ) -> None:
        self.world, self.account, self.executions, self.meets = Deploy(account), account, 0, meets
        self.is_brought, self.is_question = is_brought, is_question
        self.verdict, self.may_approve = verdict, may_approve
        self.machine = machine_of(is_automatic=is_automatic)
        if has_image:
            self._name_image()
        account.functions["gate"] = self._gate
        account.functions["tags"] = lambda *_: {"tag": "ts-0123456789abcdef", "engine": "duckdb", "reason": "it fits"}

    def run(self, *faults: Fault, machine: Mapping[str, Any] | None = None, chance: Any = None) -> Run:
        """Run one execution under faults."""
        self.executions += 1
        self.known = frozenset(self.account.packages)
        self.name = f"retrain-{self.executions}"
        request: dict[str, Any] = {
            "trigger": "alarm",
            "event_id": "1",
            "as_of": "2017-08-01T00:00:00Z",
            "requested_by": "demand-drift",
            "detail": "",
            "format": "mlops.retrain-request/1",
        }
        if self.is_brought:
            uri = f"s3://artifacts/registered/{ENDPOINT}/{'a' * 64}/model.tar.gz"
            request |= {"trigger": "manual", "candidate": {"uri": uri, "sha256": "a" * 64}}
        if self.is_question:
            request |= {"question": "the feed looks broken, so nothing was trained; fix the feed"}
        boto3_dynamodb().put_item(
            TableName="retraining",
            Item={
                "pipeline": {"S": ENDPOINT},
                "item": {"S": "STATE"},
                "owner": {"S": f"{PREFIX}:execution:Machine:{self.name}"},
                "lock_until": {"N": "9999999999"},
                "request": {"S": json.dumps(request)},
            },
        )
        definition = self.machine if machine is None else machine
        met = faults if self.meets is None else (*faults, self.meets)
        return run(definition, {}, self.account, name=self.name, faults=met, chance=chance)

    def release(self) -> bool:
        """Release the lock of an ended execution, as the guard does; return whether it held it."""
        table = GuardTable(dynamodb=boto3_dynamodb(), table="retraining", pipeline=ENDPOINT)
        return table.release(f"{PREFIX}:execution:Machine:{self.name}")

    def broken(self, result: Run, *, excused: frozenset[str] = frozenset()) -> list[str]:
        """Return the violations after an execution; a retraining never changes the serving model."""
        serving = self.account.endpoints.get(ENDPOINT)
        same = serving is None if not self.account.serves else serving is not None and serving.config == OLD
        problems = [] if same else ["the endpoint serves something else"]
        made = [p for arn, p in self.account.packages.items() if arn not in self.known]
        if len(made) > 1:
            problems.append(f"{len(made)} packages of one candidate")
        if made and self.verdict == "FAILED":
            problems.append("a candidate that failed the gate was registered")
        if any(p["ModelApprovalStatus"] == "Approved" for p in made) and not self.may_approve:
            problems.append("a package was approved while automation rests")
        records = [r.outcome.value for r in self.world.records() if r.execution.endswith(f":{self.name}")]
        wanted = [result.outcome] if result.outcome in ("ASKED", "FAILED", "REJECTED") else []
        if result.status != "CRASHED" and records != wanted and "lambda:invoke record" not in excused:
            problems.append(f"ended with {result.outcome}, recorded are {records}")
        key = {"pipeline": {"S": ENDPOINT}, "item": {"S": "STATE"}}
        item = boto3_dynamodb().get_item(TableName="retraining", Key=key)["Item"]
        if "owner" in item and "dynamodb:updateItem lock" not in excused and result.status != "CRASHED":
            problems.append(f"the lock is held by {item['owner']['S']}")
        return problems

    def _name_image(self) -> None:
        """Give the live pointer another image than the pipeline's."""
        key = {"endpoint": {"S": ENDPOINT}}
        row = boto3_dynamodb().get_item(TableName="rollout", Key=key)["Item"]
        live = json.loads(row["live"]["S"]) | {"image": JOBS.image_uri.replace("1" * 64, "2" * 64)}
        assert live["image"] != JOBS.image_uri
        boto3_dynamodb().update_item(
            TableName="rollout",
            Key=key,
            UpdateExpression="SET live = :live",
            ExpressionAttributeValues={":live": {"S": json.dumps(live)}},
        )

    def _gate(self, event: dict[str, Any], context: object) -> dict[str, Any]:
        del context
        if "trained_uri" in event:
            return {"artifact_uri": "s3://artifacts/models/demand-forecast/one/model.tar.gz"}
        container = {"Image": event["image"], "ModelDataUrl": event["artifact_uri"], "Environment": {}}
        found = {
            "verdict": self.verdict,
            "reason": "beats last_week" if self.verdict == "PASSED" else "loses against last_week",
            "may_approve": self.may_approve,
            "rest": "" if self.may_approve else "paused",
            "gate_uri": put_passed(self.account.client("s3"), execution=self.name),
            "signing_key": KEY,
            "code": event["code"],
            "artifact_sha256": "a" * 64,
            "model_sha256": "b" * 64,
            "signature_sha256": "9" * 64,
            "training_set_id": "c" * 64,
            "baseline_uri": "s3://artifacts/b",
            "evaluation_uri": event["evaluation_uri"],
            "evaluation_sha256": "e" * 64,
            "baseline_sha256": "8" * 64,
        }
        return (
            found
            | registered_metadata(container, {k: v for k, v in found.items() if isinstance(v, str)})
            | {"container": container}
        )
