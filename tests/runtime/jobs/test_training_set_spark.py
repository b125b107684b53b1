"""The job for sets beyond one machine, started by a client in the embedded cloud's Glue."""

import contextlib
import json
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyiceberg.catalog.glue import GlueCatalog

from mlops_local.glue import jobs
from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.contracts.retraining import FeatureJoin, TrainingSetPlan
from mlops_runtime.features import split_set
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.glue_build import GlueBuilder, GlueBuildError
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties

pytestmark = [pytest.mark.spark, pytest.mark.cloud]

DATABASE, TABLES, SETS = "spark_sets", "spark-sets-tables", "spark-sets"
START = datetime(2017, 1, 1, tzinfo=UTC)
STORE = Entity("store_id", "string", "store")
SALES = FeatureGroup(
    name="sales",
    entities=(STORE,),
    features=(Feature("asked_at", "timestamp", "when"), Feature("units", "double", "sold")),
    owner="demand",
    description="sales",
)
STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    features=(Feature("on_hand", "long", "units", nullable=True), Feature("share", "double", "share", nullable=True)),
    owner="demand",
    description="stock",
)
SCRIPT = """import sys

from mlops_runtime.jobs.training_set_spark import main

code = main(sys.argv[1:])
if code:
    sys.exit(code)
"""
DYING = """from mlops_runtime.features.build_intent import OpenBuild


def check(build):
    raise RuntimeError("lost")


OpenBuild.check = check
code = main"""
ICEBERG = "org.apache.iceberg"
CONF = " --conf ".join(
    [
        f"spark.sql.extensions={ICEBERG}.spark.extensions.IcebergSparkSessionExtensions",
        f"spark.sql.catalog.glue_catalog={ICEBERG}.spark.SparkCatalog",
        f"spark.sql.catalog.glue_catalog.catalog-impl={ICEBERG}.aws.glue.GlueCatalog",
        f"spark.sql.catalog.glue_catalog.io-impl={ICEBERG}.aws.s3.S3FileIO",
        f"spark.sql.catalog.glue_catalog.warehouse=s3://{TABLES}/{DATABASE}",
        "spark.sql.session.timeZone=America/New_York",
    ]
)


@pytest.fixture(scope="module")
def store(cloud) -> SimpleNamespace:
    """Return a feature store in Glue, and the job, whose role has the template's permissions."""
    if jobs.spark_home() is None or shutil.which("java") is None or sys.version_info >= (3, 12):
        pytest.skip("Spark is not installed; .ci/run installs it")
    s3, glue, iam = cloud.client("s3"), cloud.client("glue"), cloud.client("iam")
    for bucket in (TABLES, SETS):
        s3.create_bucket(Bucket=bucket)
    glue.create_database(DatabaseInput={"Name": DATABASE})
    catalog = GlueCatalog("glue", None, **glue_properties(cloud.environment()))
    lock = FeatureLock().extend([SALES, STOCK])
    for group in (SALES, STOCK):
        catalog.create_table(
            (DATABASE, group.table_name),
            iceberg_schema(group, lock.table(group)),
            location=f"s3://{TABLES}/{DATABASE}/{group.table_name}",
            partition_spec=iceberg_partition(lock.table(group)),
            properties=group.properties,
        )
    s3.put_object(Bucket=SETS, Key="script/job.py", Body=SCRIPT.encode())
    trust = {
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "glue.amazonaws.com"}, "Action": "sts:AssumeRole"}]
    }
    role = iam.create_role(RoleName="spark-sets", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    allowed = {"Statement": [{"Effect": "Allow", "Action": ["s3:*", "glue:*"], "Resource": "*"}]}
    iam.put_role_policy(RoleName="spark-sets", PolicyName="all", PolicyDocument=json.dumps(allowed))
    glue.create_job(
        Name="build-sets",
        Role=role,
        Command={"Name": "glueetl", "ScriptLocation": f"s3://{SETS}/script/job.py"},
        GlueVersion="5.1",
        DefaultArguments={
            "--conf": CONF,
            "--datalake-formats": "iceberg",
            "--catalog": "glue_catalog",
            "--database": DATABASE,
            "--manifests": f"s3://{SETS}/manifests",
            "--sets": f"s3://{SETS}",
        },
    )
    day = [START + timedelta(days=n) for n in range(12)]
    client = FeatureStoreClient.glue(
        database=DATABASE,
        environment=cloud.environment(),
        now=lambda: day[11],
        manifests=f"s3://{SETS}/manifests",
        training_sets=f"s3://{SETS}",
        s3=s3,
        glue=glue,
        spark_job="build-sets",
    )
    requested = {"store_id": ["1"] * 10, "event_time": day[1:11], "created_time": day[1:11], "asked_at": day[:10]}
    client.ingest(SALES, pa.table({**requested, "units": [float(n) for n in range(10)]}))
    shares = [None, float("nan"), -0.0, 0.1, 0.2] * 2
    batch = {
        "store_id": ["1"] * 10,
        "event_time": day[:10],
        "created_time": day[:10],
        "on_hand": range(10),
        "share": shares,
    }
    client.ingest(STOCK, pa.table(batch))
    return SimpleNamespace(client=client, s3=s3, glue=glue, day=day)


def entity_rows(store) -> pa.Table:
    """Return rows of two stores, one without features, with an extra column."""
    return pa.table(
        {
            "store_id": ["1", "2", "1", None],
            "event_timestamp": [store.day[3], store.day[3], store.day[9], store.day[9]],
            "note": pa.array([1, 2, 3, 4], pa.uint8()),
        }
    )


def test_a_client_has_its_set_built_by_spark(store):
    """Content hash, files and counts equal those of a build here; only the engine changes the id."""
    here = store.client.training_set(entity_rows(store), [STOCK, SALES], name="shelves", engine="duckdb")
    there = store.client.training_set(entity_rows(store), [STOCK, SALES], name="shelves", engine="spark")
    assert there.manifest.output == here.manifest.output
    assert replace(there.manifest, build=here.manifest.build) == here.manifest
    assert (there.manifest.build.engine, here.manifest.build.engine) == ("spark", "duckdb")
    assert dict(there.files) == dict(here.files)
    assert there.rows.equals(here.rows)
    assert store.client.rebuild(there.id).verdict.value == "IDENTICAL"
    assert there.matched == {"stock_v1": 2, "sales_v1": 2}
    listed = store.s3.list_objects_v2(Bucket=SETS, Prefix="staged/")
    assert listed["KeyCount"] == 0


def test_a_plans_set_is_the_one_that_the_processing_job_builds(store):
    """Files by split, the manifest next to them and under its id, which the run reports. One group is used twice."""
    plan = TrainingSetPlan(
        name="daily",
        label_group="sales",
        timestamp="asked_at",
        label="units",
        features={"stock": ("on_hand", "share")},
        holdout_days=2,
        joins=(FeatureJoin(group="stock", name="again", columns=("share",), on={"store_id": "store_id"}),),
    )
    as_of = START + timedelta(days=6, hours=12)
    here = split_set.build(store.client.table, ["sales_v1", "stock_v1"], plan, as_of=as_of)
    run = store.glue.start_job_run(
        JobName="build-sets",
        Arguments={
            "--build": "planned",
            "--plan": canonical_json(plan).decode(),
            "--as_of": as_of.isoformat(),
            "--tables": "sales_v1,stock_v1",
            "--output": f"s3://{SETS}/sets/daily/1",
        },
    )["JobRunId"]
    assert ended(store, run) == ("SUCCEEDED", "")
    content = store.s3.get_object(Bucket=SETS, Key="sets/daily/1/manifest/training_set.json")["Body"].read()
    manifest = from_json(TrainingSetManifest, content)
    assert replace(manifest, build=here.manifest.build) == here.manifest
    for path, expected in here.files.items():
        assert store.s3.get_object(Bucket=SETS, Key=f"sets/daily/1/{path}")["Body"].read() == expected
    assert store.client.manifests.read(content_hash(manifest)) == manifest
    done = json.loads(store.s3.get_object(Bucket=SETS, Key="staged/planned/done.json")["Body"].read())
    assert done == {"training_set_id": content_hash(manifest)}


def ended(store, run: str) -> tuple[str, str]:
    """Wait for a run; return its state and message."""
    with contextlib.suppress(GlueBuildError):
        GlueBuilder(glue=store.glue, job="build-sets", sets=store.client._sets, manifests=store.client.manifests).wait(
            run
        )
    found = store.glue.get_job_run(JobName="build-sets", RunId=run)["JobRun"]
    return found["JobRunState"], found.get("ErrorMessage", "")


def test_a_run_that_dies_after_writing_loses_nothing(store):
    """A typed error has run and cause; neither manifest nor staged files remain, and a retry builds it."""
    before = store.client.manifests.ids()
    script = SCRIPT.replace("code = main", DYING)
    store.s3.put_object(Bucket=SETS, Key="script/job.py", Body=script.encode())
    try:
        with pytest.raises(
            GlueBuildError, match=r"run \S+ of build-sets ended FAILED: RuntimeError: lost; .* nothing is lost"
        ):
            store.client.training_set(entity_rows(store), [STOCK], name="lost", engine="spark")
    finally:
        store.s3.put_object(Bucket=SETS, Key="script/job.py", Body=SCRIPT.encode())
    assert store.client.manifests.ids() == before
    assert store.client.builds.unclosed() == ()
    again = store.client.training_set(entity_rows(store), [STOCK], name="lost", engine="spark")
    assert again.rows["stock__on_hand"].to_pylist() == [3, None, 9, None]
