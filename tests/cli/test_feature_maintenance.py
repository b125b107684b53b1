"""``mlops features maintain`` on a store in a folder."""

import json
import subprocess
from collections.abc import Callable

import pytest
from feature_shops import FeatureShop

from mlops_runtime.features.build_intent import ErasedDuringBuildError

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_maintain_says_what_it_did_to_each_table(feature_shop: FeatureShop, in_process: Run) -> None:
    """Prints lines or JSON; a second run has nothing to do."""
    first = in_process("features", "maintain", "--path", feature_shop.path)
    again = json.loads(in_process("features", "maintain", "--path", feature_shop.path, "--json").stdout)

    assert first.returncode == 0, first.stderr
    said = [line.partition(":")[0] for line in first.stdout.splitlines()]
    assert said == list(feature_shop.client.table_names())
    assert all("unneeded files removed, 0 old keys forgotten, 0 tags dropped" in x for x in first.stdout.splitlines())
    assert [each["table"] for each in again["tables"]] == said
    assert all(each["compacted"] == each["removed"] == 0 for each in again["tables"])


def test_maintain_completes_an_erasure_that_waited_for_a_training_set(
    feature_shop: FeatureShop, in_process: Run
) -> None:
    """Both commands exit with 3 until then; the blocked build reports the erasure."""
    begin = feature_shop.client.builds.begin(tables=["stock_v1"], places=[], takes_rows=True)
    build = begin.__enter__()
    erased = in_process(
        "features",
        "erase",
        "--entity",
        "store_id=2",
        "--reason",
        "T-1",
        "--yes",
        "--wait-seconds",
        "0",
        "--path",
        feature_shop.path,
    )
    waits = in_process("features", "maintain", "--path", feature_shop.path)
    told = in_process("features", "maintain", "--json", "--path", feature_shop.path)
    with pytest.raises(ErasedDuringBuildError):
        build.check()
    begin.__exit__(None, None, None)
    done = in_process("features", "maintain", "--path", feature_shop.path)

    assert (erased.returncode, waits.returncode, told.returncode, done.returncode) == (3, 3, 3, 0)
    assert f"pending: build {build.intent.id} by process " in erased.stderr
    assert (
        "is not complete: run mlops features maintain when the builds have ended and the online table is"
        in waits.stderr
    )
    assert len(json.loads(told.stdout)["erasures"][0]["pending"]) == 1
    assert done.stdout.splitlines()[-1].endswith(" is complete: T-1")
