"""An erasure while Spark builds a training set in a process of the embedded cloud's Glue, which stops at a given step.

The erasure runs while the job is stopped; then the job continues, or it or its first task is killed.
"""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.campaign.erasures import search
from tests.campaign.erasures.stores import OTHER, SECRET, CloudStore
from tests.runtime.features.conftest import STOCK, asked, day

from mlops_local.cloud import Cloud
from mlops_local.glue import jobs
from mlops_runtime.features.deployed_store import ended_on_aws
from mlops_runtime.features.glue_build import GlueBuildError
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.store_client import FeatureStoreClient

pytestmark = [pytest.mark.spark, pytest.mark.cloud]

NAME = "sparkerasures"  # of bucket and database; Iceberg names have no hyphen
NOW = timedelta(0)
ICEBERG = "org.apache.iceberg"
CONF = " --conf ".join(
    [
        f"spark.sql.extensions={ICEBERG}.spark.extensions.IcebergSparkSessionExtensions",
        f"spark.sql.catalog.lake={ICEBERG}.spark.SparkCatalog",
        f"spark.sql.catalog.lake.catalog-impl={ICEBERG}.aws.glue.GlueCatalog",
        f"spark.sql.catalog.lake.io-impl={ICEBERG}.aws.s3.S3FileIO",
        f"spark.sql.catalog.lake.warehouse=s3://{NAME}/{NAME}",
        "spark.master=local[2,2]",  # as on Glue, where a task is retried
    ]
)
SCRIPT = """
import os
import signal
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

from mlops_runtime.features import distributed_build
from mlops_runtime.features.build_intent import OpenBuild
from mlops_runtime.features.training_set_manifest import Manifests
from mlops_runtime.jobs.training_set_spark import main

GATE, STEP, IS_KILLED = Path({gate!r}), {step!r}, {is_killed!r}


def stand():
    (GATE / "here").touch()
    while not (GATE / "go").exists():
        time.sleep(0.05)
    if IS_KILLED:
        os.kill(os.getpid(), signal.SIGKILL)


class Task(distributed_build._Task):
    # tasks are sent this class with its code, as it is of the script
    def answer(self, number, found, attempt=0):
        written = super().answer(number, found, attempt)
        try:
            (GATE / "tried").touch(exist_ok=False)
        except FileExistsError:
            return written
        stand()
        return written


def laid_out(*arguments, **options):
    found = original(*arguments, **options)
    task = Task(**{{each.name: getattr(found.task, each.name) for each in fields(found.task)}})
    return replace(found, task=task)


def standing(original):
    def stands(*arguments, **options):
        stand()
        return original(*arguments, **options)

    return stands


if STEP == "task":
    original, distributed_build.laid_out = distributed_build.laid_out, laid_out
else:
    owner, name = {{
        "reading": (distributed_build, "_answers"),
        "files": (OpenBuild, "check"),
        "manifest": (Manifests, "write"),
    }}[STEP]
    setattr(owner, name, standing(getattr(owner, name)))
code = main(sys.argv[1:])
if code:
    sys.exit(code)
"""


@pytest.fixture(scope="module")
def _filled(cloud: Cloud) -> CloudStore:
    if jobs.spark_home() is None or shutil.which("java") is None or sys.version_info >= (3, 12):
        pytest.skip("Spark is not installed; .ci/run installs it")
    made = CloudStore.filled(cloud, NAME)
    glue, iam = cloud.client("glue"), cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "glue.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]["Arn"]
    allowed = {"Statement": [{"Effect": "Allow", "Action": ["s3:*", "glue:*"], "Resource": "*"}]}
    iam.put_role_policy(RoleName=NAME, PolicyName="all", PolicyDocument=json.dumps(allowed))
    given = {"conf": CONF, "datalake-formats": "iceberg", "catalog": "lake", "database": NAME}
    glue.create_job(
        Name=NAME,
        Role=role,
        Command={"Name": "glueetl", "ScriptLocation": f"s3://{NAME}/script/job.py"},
        GlueVersion="5.1",
        DefaultArguments={f"--{name}": value for name, value in given.items()}
        | {"--manifests": made.manifests, "--sets": made.sets},
    )
    return made


@pytest.fixture
def store(_filled: CloudStore) -> CloudStore:
    """Return a store with rows of two entities and of others, in a versioned bucket."""
    _filled.put_back()
    return _filled


def client_of(store: CloudStore) -> FeatureStoreClient:
    """Return a client that starts the job and reads its end from Glue."""
    glue = store.cloud.client("glue")
    return FeatureStoreClient.glue(
        database=NAME,
        environment=store.cloud.environment(),
        now=partial(day, 20),
        manifests=store.manifests,
        training_sets=store.sets,
        s3=store.s3,
        glue=glue,
        spark_job=NAME,
        ended=ended_on_aws(store.cloud.client("sagemaker"), glue),
    )


def erase(store: CloudStore) -> Any:
    """Erase the entity without waiting."""
    return client_of(store).erase({"store_id": SECRET}, reason="T-1", in_use=(), wait=NOW)


@pytest.mark.parametrize(
    ("step", "is_killed"),
    [
        ("reading", False),
        ("files", True),
        ("manifest", False),
        ("task", True),
    ],
)
def test_an_erasure_while_the_job_stands_at_a_step_leaves_nothing(
    store: CloudStore, tmp_path: Path, wait_for: Any, step: str, is_killed: bool
) -> None:
    """It is pending until Glue reports the run's end; then neither set nor staged files name the entity."""
    script = SCRIPT.format(gate=str(tmp_path), step=step, is_killed=is_killed)
    store.s3.put_object(Bucket=NAME, Key="script/job.py", Body=script.encode())
    rows = asked((6, "1"), (6, SECRET), (6, OTHER))

    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(client_of(store).training_set, rows, [STOCK], name="beside", engine="spark")
        try:
            wait_for(lambda: (tmp_path / "here").exists() or built.done(), seconds=240)
            staged = [key for key in search.in_bucket(store.s3, NAME, [SECRET]) if key.startswith("staged/")]
            pending = erase(store).pending
        finally:  # otherwise the pool and the job would wait for each other
            (tmp_path / "go").touch()
        problem = built.exception()

    assert len(pending) == 2, problem  # one of the client and one of its job
    assert bool(staged) == (step != "reading")
    if step == "manifest":
        assert problem is None
    else:
        assert isinstance(problem, GlueBuildError)
        # the killed task is retried, and its job rejected
        assert ("began while this training set was built" in str(problem)) == (step != "files")
        assert store.client().manifests.ids() == ()
    (done,) = client_of(store).resume_erasures(wait=NOW)
    assert done.pending == ()
    assert search.in_bucket(store.s3, NAME, [SECRET]) == []
    for each in store.client().manifests.ids():
        assert client_of(store).rebuild(each).verdict is Verdict.IMPOSSIBLE
    assert set(store.client().table("stock_v1").scan().to_arrow()["store_id"].to_pylist()) == {"1", OTHER}
