"""Counts on a real Spark equal those of one process byte for byte."""

import boto3
import pytest
from tests.runtime import spark as local_spark
from tests.runtime.jobs.conftest import job_environment

from mlops_runtime.contracts import canonical_json
from mlops_runtime.jobs.monitor_count import CountSettings, count_objects
from mlops_runtime.jobs.monitor_spark import count_objects as count_on_spark

pytestmark = pytest.mark.spark

PREFIX = "capture/demand-forecast/AllTraffic/2017/08/07/10"


@pytest.fixture(scope="module")
def spark(tmp_path_factory, server):
    """Return a session whose workers reach the server."""
    environment = job_environment(server)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        found = local_spark.session(tmp_path_factory.mktemp("spark"), environment)
        yield found
        found.stop()


def test_spark_counts_as_one_process_does(spark, s3, lines, baseline):
    """Whole objects and one in parts give the same bytes at the same keys; a missing object is reported."""
    s3.create_bucket(Bucket="other")
    body = "\n".join(
        lines.call(f"{0.1 * 3**i!r},{i},north", repr(1 / (i + 1)), event_id=f"e-{i}") for i in range(60)
    ).encode()
    sizes = {f"{PREFIX}/{name}.jsonl": len(body) // part for name, part in (("large", 1), ("small", 4), ("tiny", 20))}
    for key, size in sizes.items():
        s3.put_object(Bucket="captures", Key=key, Body=body[:size])
    both = [
        CountSettings(
            endpoint="demand-forecast",
            artifacts=bucket,
            captures="captures",
            baseline=canonical_json(baseline),
            since="2017-08-07T00:00:00Z",
        )
        for bucket in ("artifacts", "other")
    ]
    gone = f"{PREFIX}/gone.jsonl"
    part_bytes = len(body) // 3
    failed = count_on_spark(spark, {**sizes, gone: 5}, both[0], part_bytes=part_bytes)
    assert list(failed) == [gone]
    assert "NoSuchKey" in failed[gone]
    assert count_objects(sizes, both[1], processes=1, part_bytes=len(body) + 1) == {}
    assert written("artifacts") == written("other")
    assert len(written("other")) == len(sizes)


def written(bucket: str) -> dict[str, bytes]:
    """Return a bucket's objects below the folder of counts."""
    s3 = boto3.client("s3")
    found = s3.list_objects_v2(Bucket=bucket, Prefix="monitor/demand-forecast/counts/AllTraffic/2017/08/07/10/")
    return {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found["Contents"]}
