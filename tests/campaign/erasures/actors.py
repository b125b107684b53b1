"""Actions of the processes of a schedule, imported once: the processes are forked from one with this module loaded."""

import importlib
import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import boto3
from tests.campaign.erasures.stores import ONLINE, OTHER, SECRET, Store
from tests.runtime.features.conftest import PLAN, STOCK, asked, day, stock

from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.online_items import OnlineStoreError
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.jobs.job_environment import OptMl
from mlops_runtime.jobs.training_set import training_set

KINDS = ("job1", "job2", "set1", "set2", "compaction", "ingest", "publication", "erasure", "other")
GIVEN = ("set1", "set2")  # sets with rows passed by the caller
ERASED = {"erasure": SECRET, "other": OTHER}
NOW = timedelta(0)
REFUSED = 3  # the exit code of a rejected action, which is correct while an erasure runs

# imports that the library makes at first use, which each process would repeat
_LATE = (
    "boto3.s3.inject",
    "duckdb",
    "pyarrow.acero",
    "pyiceberg.avro.decoder_fast",
    "pyiceberg.catalog.sql",
    "pyiceberg_core.transform",
    "rich.table",
    "sqlalchemy.dialects.sqlite",
    "mlops_runtime.features.entity_erasure",
    "mlops_runtime.features.table_maintenance",
    "mlops_runtime.features.training_set",
)
for _name in _LATE:
    importlib.import_module(_name)
for _name in ("s3", "glue", "dynamodb"):  # boto3 caches the models of each service
    boto3.client(_name, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


def act(store: Store, kind: str, scratch: Path) -> None:
    """Run one process of a schedule."""
    if kind.startswith("job"):
        os.environ["PROCESSING_JOB_NAME"] = f"{kind}-{os.getpid()}"
    own = store.client()
    try:
        if kind.startswith("job"):
            training_set(
                own,
                PLAN,
                as_of=day(12),
                tables=("sales_v1", "stock_v1"),
                opt_ml=OptMl(Path(tempfile.mkdtemp(dir=scratch))),
                output=f"{store.sets}/sets/daily/{kind}",
                manifests=store.manifests,
                s3=store.s3,
            )
        elif kind in GIVEN:
            own.training_set(asked((6, "1"), (6, SECRET), (7, OTHER)), [STOCK], name=kind)
        elif kind == "compaction":
            own.maintain()
        elif kind == "ingest":
            own.ingest(ONLINE, stock((9, 1, 9)))
        elif kind == "publication":
            own.publish_online(ONLINE)
        else:
            own.erase({"store_id": ERASED[kind]}, reason="T-1", in_use=(), wait=NOW)
    except (TrainingSetError, FeatureTableError, BatchError, OnlineStoreError) as error:
        sys.stderr.write(f"{kind}: {error}\n")
        sys.exit(REFUSED)
