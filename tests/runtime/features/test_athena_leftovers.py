"""Leftovers of a killed Athena build are removed three days later, by maintenance and by the next build."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.runtime.features.test_athena_build import STOCK, asked, store

__all__ = ["store"]

BUILD = """
import signal
import boto3
from datetime import timedelta
from tests.runtime.features.test_athena_build import START, STOCK, asked
from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.store_client import FeatureStoreClient

class Stalled(AthenaRuns):
    def run(self, statement):
        print("asked", flush=True)
        signal.pause()

client = FeatureStoreClient.glue(
    database="athena_store",
    now=lambda: START + timedelta(days=60),
    manifests="s3://athena-sets/manifests",
    training_sets="s3://athena-sets",
    s3=boto3.client("s3"),
    glue=boto3.client("glue"),
    athena=Stalled(boto3.client("athena"), output="s3://athena-answers"),
)
client.training_set(asked(9), [STOCK], name="killed", engine="athena")
"""


@pytest.fixture
def killed(store):
    """Kill a process during an Athena query; return its store, whose clients run on a later day."""
    environment = {**os.environ, **store.cloud.environment(), "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, "-c", BUILD], env=environment, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout.readline() == "asked\n"
        builder.send_signal(signal.SIGKILL)
    left = store.left()
    assert [each.partition("/")[0] for each in left if "rows" in each] == [left[0], "staged"]
    return store


def after(store, days):
    """Return a client that many days later."""
    return store.new_client(now=lambda: datetime.now(UTC) + timedelta(days=days))


def test_maintenance_removes_what_no_build_needs_any_more(killed):
    """Removes nothing of a build that may still run."""
    left = killed.left()
    after(killed, 2.9).maintain([])
    assert killed.left() == left

    after(killed, 3.1).maintain([])

    assert killed.left() == []
    after(killed, 3.1).maintain([])


def test_the_next_build_removes_it_too(killed):
    """Before it creates its own table."""
    built = after(killed, 3.1).training_set(asked(9), [STOCK], name="next", engine="athena")
    assert (built.rows.num_rows, killed.left()) == (9, [])
