"""Cost of sealing, appending and verifying audit records on the embedded cloud, one record at a time.

``python -m benchmarks.audit``: bounds are 50 ms for a signature and for a verification.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import load

from mlops_local import cloud as local_cloud
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, Outcome
from mlops_runtime.rollout.audit_chain import GENESIS, AuditChain, Move
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import PublicKey, Sealer
from mlops_runtime.verify import report_signature

RECORDS = 100


def record(row: LockRow) -> AuditRecord:
    """Return a record of typical length."""
    return AuditRecord(
        endpoint=row.endpoint,
        sequence=row.audit_sequence + 1,
        previous=row.audit_head,
        outcome=Outcome.PROMOTED,
        reason="the new fleet served 1000 invocations, no alarm fired",
        execution=f"arn:aws:states:us-east-1:000000000000:execution:Deploy:approval-{row.audit_sequence}",
        at="2017-08-01T09:00:00Z",
        requested_by="arn:aws:sts::000000000000:assumed-role/Approver/ann",
    )


def measured(name: str, step: Callable[[], object]) -> None:
    """Run a step once per record; print the median and the 95th percentile in milliseconds."""
    times = []
    for _ in range(RECORDS):
        started = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - started))
    quantiles = statistics.quantiles(times, n=20)
    print(f"{name}: median {statistics.median(times):.1f} ms, 95th percentile {quantiles[-1]:.1f} ms")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = local_cloud.up(Path(folder) / "cloud")
        try:
            s3, dynamodb, kms = (cloud.client(service) for service in ("s3", "dynamodb", "kms"))
            for bucket in ("audit", "heads"):
                s3.create_bucket(Bucket=bucket)
            dynamodb.create_table(
                TableName="rollout",
                AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
            made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
            sealer = Sealer(kms=kms, key=made)
            key = PublicKey(der=kms.get_public_key(KeyId=made)["PublicKey"])
            table = RolloutTable(dynamodb, "rollout", "demand-forecast")
            chain = AuditChain(s3=s3, bucket="audit", table=table, heads="heads", sealer=sealer)
            first = record(LockRow(endpoint="demand-forecast", audit_head=GENESIS))
            measured("seal", lambda: sealer.seal(first))
            measured("append", lambda: chain.append(lambda row: Move(record=record(row))))
            message = b"m" * 150
            value = kms.sign(KeyId=made, Message=message, MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")
            measured("verify a seal", lambda: report_signature.verify_p256(key.der, value["Signature"], message))
            started = time.perf_counter()
            problems = chain.problems(key.is_signed)
            each = 1000 * (time.perf_counter() - started) / RECORDS
            print(f"verify a chain of {RECORDS}: {each:.1f} ms a record with its reads, {len(problems)} findings")
        finally:
            cloud.down(forget=True)
    print(load())


if __name__ == "__main__":
    main()
