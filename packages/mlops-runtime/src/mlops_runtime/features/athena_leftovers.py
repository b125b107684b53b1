"""Removal of the tables and staged files that interrupted Athena builds left behind."""

from datetime import datetime, timedelta
from typing import Any

from mlops_runtime.contracts.features import STAGED_DAYS
from mlops_runtime.features.athena_build import ROWS_TABLE
from mlops_runtime.features.athena_query import remove_all
from mlops_runtime.features.glue_build import staged
from mlops_runtime.features.training_set_manifest import Objects


def remove_leftovers(glue: Any, database: str, sets: Objects, now: datetime, *, s3: Any) -> int:
    """Delete tables of entity rows older than ``STAGED_DAYS`` with their staged files; return the number of tables.

    The store's bucket expires staged files after the same time, so no running build is affected.

    Args:
        glue: A boto3 client of Glue.
        database: The database of the feature tables.
        sets: The bucket of training sets.
        now: The current time.
        s3: A boto3 client of S3.
    """
    pages = glue.get_paginator("get_tables").paginate(DatabaseName=database)
    found = [table for page in pages for table in page["TableList"] if table["Name"].startswith(ROWS_TABLE)]
    old = [table["Name"] for table in found if now - table["CreateTime"] > timedelta(days=STAGED_DAYS)]
    for name in old:
        remove_all(Objects(sets.uri(staged(name.removeprefix(ROWS_TABLE))), s3=s3))
        # another caller may delete the same table concurrently
        try:
            glue.delete_table(DatabaseName=database, Name=name)
        except glue.exceptions.EntityNotFoundException:
            continue
    return len(old)
