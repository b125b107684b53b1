"""A unit with an endpoint and a pipeline on the embedded cloud, written as its stack's parameters, tables and buckets."""

import json
from dataclasses import replace
from typing import Any

from mlops_local.accounts import CloudAccount
from mlops_local.cloud import Cloud
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import SEAL, AuditRecord, LivePointer, Outcome, RolloutVerdict
from mlops_runtime.contracts.unit_entries import EndpointEntry, Entry, FreezeSpec, UnitEntry, entry_name, entry_value
from mlops_runtime.rollout.audit_chain import GENESIS, AuditChain, Move
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import PublicKey, Sealer

ACCOUNT = "000000000000"
DONE = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class DeployedUnit:
    """The unit and its endpoint, with methods that imitate rollouts; bucket names are unique across accounts."""

    def __init__(self, cloud: Cloud | CloudAccount, name: str, *, buckets: str | None = None) -> None:
        self.cloud, self.name, self.endpoint = cloud, name, f"{name}-forecast"
        self.bucket, self.dynamodb = f"{buckets or name}-audit", cloud.client("dynamodb")
        self.heads = f"{buckets or name}-heads"
        self.s3, self.stepfunctions = cloud.client("s3"), cloud.client("stepfunctions")
        region = self.s3.meta.region_name
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        for bucket in (self.bucket, self.heads):
            self.s3.create_bucket(Bucket=bucket, **where)
        self.kms = cloud.client("kms")
        self.signing_key, self.pause_key = self._make_key(), self._make_key()
        for table, keys in (
            ("automation", ["endpoint"]),
            ("rollout", ["endpoint"]),
            ("retraining", ["pipeline", "item"]),
        ):
            self.dynamodb.create_table(
                TableName=f"{name}-{table}",
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        self.machine = self.make_machine("deploy", DONE)
        self.unit_entry = UnitEntry(
            unit=name,
            automation_table=f"{name}-automation",
            audit_bucket=self.bucket,
            artifacts_bucket="none",
            bus="none",
            heads_bucket=self.heads,
            signing_key=self.signing_key,
            pause_key=self.pause_key,
            owner=name,
            cost_center=name,
        )
        self.publish(self.unit_entry)
        self.endpoint_entry = EndpointEntry(
            endpoint=self.endpoint,
            unit=name,
            group=self.endpoint,
            rollout_table=f"{name}-rollout",
            deploy_machine=self.machine,
            target="SageMaker",
            is_monitored=True,
        )
        self.publish(self.endpoint_entry)
        self.table = RolloutTable(self.dynamodb, f"{name}-rollout", self.endpoint)
        self.chain = self._chain(self.table, self.signing_key)
        unit_table = RolloutTable(self.dynamodb, f"{name}-automation", name)
        self.unit_chain = self._chain(unit_table, self.pause_key)

    def publish(self, entry: Entry) -> None:
        """Write an entry's parameter as its stack does."""
        self.cloud.client("ssm").put_parameter(
            Name=entry_name(entry), Value=entry_value(entry), Type="String", Overwrite=True
        )

    def freeze(self, spec: FreezeSpec) -> None:
        """Give the unit a freeze calendar."""
        self.publish(replace(self.unit_entry, freeze=spec))

    def make_machine(self, name: str, definition: dict[str, Any], *statements: dict[str, Any]) -> str:
        """Create a state machine whose role has the statements."""
        iam, full = self.cloud.client("iam"), f"{self.name}-{name}"
        role = iam.create_role(RoleName=full, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_role_policy(RoleName=full, PolicyName="inline", PolicyDocument=document)
        made = self.stepfunctions.create_state_machine(name=full, definition=json.dumps(definition), roleArn=role)
        return str(made["stateMachineArn"])

    def package(self, version: int) -> str:
        """Return the ARN of a version of the endpoint's model."""
        return f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/{self.endpoint}/{version}"

    def pointer(self, version: int) -> LivePointer:
        """Return the pointer at a version."""
        config = f"{self.endpoint}-0000000{version}"
        return LivePointer(
            endpoint=self.endpoint,
            config=config,
            model=config,
            model_package_arn=self.package(version),
            model_sha256="b" * 64,
            artifact_uri="s3://a/model.tar.gz",
            baseline_uri="s3://a/baseline.json",
            baseline_sha256="8" * 64,
            evaluation_uri="s3://a/evaluation.json",
            training_set_id="c" * 64,
            spec_sha256="d" * 64,
            spec_uri="s3://a/specs/one.json",
            execution="earlier",
            since="2017-07-01T00:00:00Z",
            artifact_sha256="a" * 64,
            container_sha256="c" * 64,
        )

    def serve(
        self,
        version: int,
        outcome: Outcome = Outcome.PROMOTED,
        reason: str = "better",
        verdict: RolloutVerdict | None = None,
        **changes: Any,
    ) -> None:
        """Record a completed rollout: record, head and pointer."""
        owner = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:{self.name}-deploy:rollout-{version}"
        self.lock(owner)
        pointer = replace(self.pointer(version), **changes)
        record = AuditRecord(
            endpoint=self.endpoint,
            sequence=1,
            previous=GENESIS,
            outcome=outcome,
            reason=reason,
            execution=owner,
            at="2017-07-01T00:00:00Z",
            requested_by="arn:aws:sts::000000000000:assumed-role/Approver/ann",
            serving_config=pointer.config,
            serving_package=self.package(version),
            verdict=verdict,
        )
        self.chain.append(
            lambda row: Move(
                record=replace(record, sequence=row.audit_sequence + 1, previous=row.audit_head),
                live=pointer,
                owner=owner,
            )
        )
        self.unlock()

    def lock(self, owner: str, until: int = 4102444800) -> None:
        """Let an execution take the rollout lock."""
        self._update("SET #owner = :me, lock_until = :until", {":me": {"S": owner}, ":until": {"N": str(until)}})

    def unlock(self) -> None:
        """Release the lock."""
        self._update("REMOVE #owner, lock_until", None)

    def take_back(self, *, since: str = "", until: str = "") -> None:
        """Record a rolled-back rollout in the row, or none without a time."""
        times = [{"since": since, "until": until}] if since else []
        self.dynamodb.update_item(
            TableName=f"{self.name}-rollout",
            Key={"endpoint": {"S": self.endpoint}},
            UpdateExpression="SET taken_back = :times",
            ExpressionAttributeValues={":times": {"S": json.dumps(times)}},
        )

    def live_item(self, version: int) -> str:
        """Return the pointer at a version as stored in the row."""
        return canonical_json(self.pointer(version)).decode()

    def objects(self, name: str | None = None) -> dict[str, bytes]:
        """Return the audit records of the endpoint, or of another chain, without their signatures."""
        contents = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"audit/{name or self.endpoint}/").get(
            "Contents", []
        )
        keys = [e["Key"] for e in contents if not e["Key"].endswith(SEAL)]
        return {key: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def problems(self, chain: AuditChain) -> list[str]:
        """Return the problems that verification with the chain's public key finds."""
        assert chain.sealer is not None
        key = PublicKey(der=self.kms.get_public_key(KeyId=chain.sealer.key)["PublicKey"])
        return chain.problems(key.is_signed)

    def _make_key(self) -> str:
        return str(self.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"])

    def _chain(self, table: RolloutTable, key: str) -> AuditChain:
        sealer = Sealer(kms=self.kms, key=key)
        return AuditChain(s3=self.s3, bucket=self.bucket, table=table, heads=self.heads, sealer=sealer)

    def _update(self, change: str, values: dict[str, Any] | None) -> None:
        self.dynamodb.update_item(
            TableName=f"{self.name}-rollout",
            Key={"endpoint": {"S": self.endpoint}},
            UpdateExpression=change,
            ExpressionAttributeNames={"#owner": "owner"},
            **({} if values is None else {"ExpressionAttributeValues": values}),
        )
