"""Permissions and signing keys of a unit's audit chains: for the recorders of endpoints, and for people who pause the unit."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._roles import allow, grant_statements, key_statement
from mlops_constructs._unit_resources import define_bucket, mark_state
from mlops_constructs.business_unit.unit_permissions import RECORDER_TAG, define_pause_key, define_signing_key
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.rollout.seals import ALGORITHM

AUDIT_DAYS = 365


class AuditRecords:
    """Buckets and signing key of the audit records of a unit's endpoints.

    Args:
        bucket: Bucket of records and seals.
        heads: Bucket of published heads, which are write-once.
        signing_key: Key that signs the records.
    """

    def __init__(
        self, *, business_unit: IBusinessUnit, bucket: s3.IBucket, heads: s3.IBucket, signing_key: kms.IKey
    ) -> None:
        self._unit, self.bucket, self.heads, self.signing_key = business_unit, bucket, heads, signing_key

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment of a function that writes audit records."""
        return {
            "AUDIT_BUCKET": self.bucket.bucket_name,
            "HEADS_BUCKET": self.heads.bucket_name,
            "SIGNING_KEY": self.signing_key.key_arn,
        }

    def statements(self, name: str) -> list[iam.PolicyStatement]:
        """Return the permissions to write, sign and publish the records of one chain."""
        passports = self.bucket.arn_for_objects(f"passports/{name}/*")
        return [
            allow(["s3:GetObject", "s3:PutObject"], *self._objects(name), passports),
            key_statement(self._unit.key, services=["s3"]),
            sign_statement(self.signing_key),
        ]

    def admit(self, role: iam.IRole) -> None:
        """Let a role sign records, by its tag; its own policy must allow it too."""
        cdk.Tags.of(role).add(RECORDER_TAG, self._unit.name)

    def _objects(self, name: str) -> list[str]:
        return [self.bucket.arn_for_objects(f"audit/{name}/*"), self.heads.arn_for_objects(f"heads/{name}/*")]


class DefinedRecords(AuditRecords):
    """Audit records of a unit in the stack that defines it, with the unit's own chain, which people sign with a separate key.

    Args:
        scope: Parent.
    """

    def __init__(self, scope: Construct, *, business_unit: IBusinessUnit) -> None:
        unit, profile = business_unit.name, business_unit.profile
        rules = business_unit.platform_rules
        requested = 0 if rules is None or rules.audit_days is None else rules.audit_days
        lock = cdk.Duration.days(max(AUDIT_DAYS, requested)) if profile.keeps_data else None
        bucket = define_bucket(scope, "Audit", business_unit=business_unit, object_lock=lock)
        mark_state(bucket, business_unit=business_unit)
        heads = define_bucket(scope, "Heads", business_unit=business_unit, object_lock=lock)
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
        heads.add_to_resource_policy(
            iam.PolicyStatement(
                sid="OnlyNewObjects",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["s3:PutObject"],
                resources=[heads.arn_for_objects("*")],
                conditions={"Null": {"s3:if-none-match": "true"}},
            )
        )
        signing_key = define_signing_key(scope, "SigningKey", unit=unit, profile=profile)
        self.pause_key: kms.Key = define_pause_key(scope, "PauseKey", unit=unit, profile=profile)
        super().__init__(business_unit=business_unit, bucket=bucket, heads=heads, signing_key=signing_key)

    def pause_statements(self) -> list[iam.PolicyStatement]:
        """Return the permissions to write, sign and publish the records of the unit's own chain."""
        return [
            allow(["s3:GetObject", "s3:PutObject"], *self._objects(self._unit.name)),
            sign_statement(self.pause_key),
        ]

    def grant_verify(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant listing and reading all records, seals, published heads and public keys."""
        buckets = (self.bucket, self.heads)
        statements = [
            allow("kms:GetPublicKey", self.signing_key.key_arn, self.pause_key.key_arn),
            allow("s3:ListBucket", *(bucket.bucket_arn for bucket in buckets)),
            allow("s3:GetObject", *(bucket.arn_for_objects("*") for bucket in buckets)),
            key_statement(self._unit.key, services=["s3"], actions=["kms:Decrypt"]),
        ]
        return grant_statements(grantee, statements)


def sign_statement(key: kms.IKey) -> iam.PolicyStatement:
    """Return a statement that allows signing with a key, with the only algorithm that verifiers accept."""
    return allow("kms:Sign", key.key_arn, conditions={"StringEquals": {"kms:SigningAlgorithm": ALGORITHM}})
