"""``mlops features lock``, and ``maintain`` on a store in a folder."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.feature_shops import FeatureShop

from mlops_runtime.features.build_intent import ErasedDuringBuildError

Run = Callable[..., subprocess.CompletedProcess[str]]
MODULE = """
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup

STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "{on_hand}", "units on hand"), Feature("price", "double", "dollars", nullable=True)),
    owner="demand",
    description="stock",
)
GROUPS = (STOCK,)
"""


def test_maintain_says_what_it_did_to_each_table(feature_shop: FeatureShop, in_process: Run) -> None:
    """Prints lines or JSON; a second run has nothing to do."""
    first = in_process("features", "maintain", "--path", feature_shop.path)
    again = json.loads(in_process("features", "maintain", "--path", feature_shop.path, "--json").stdout)

    assert first.returncode == 0, first.stderr
    names = [line.partition(":")[0] for line in first.stdout.splitlines()]
    assert names == list(feature_shop.client.table_names())
    assert all(x.endswith("unneeded files removed, 0 old keys forgotten") for x in first.stdout.splitlines())
    assert [each["table"] for each in again["tables"]] == names
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
    first_try = in_process("features", "maintain", "--json", "--path", feature_shop.path)
    with pytest.raises(ErasedDuringBuildError):
        build.check()
    begin.__exit__(None, None, None)
    done = in_process("features", "maintain", "--path", feature_shop.path)

    assert (erased.returncode, waits.returncode, first_try.returncode, done.returncode) == (3, 3, 3, 0)
    assert f"pending: build {build.intent.id} by process " in erased.stderr
    assert (
        "is not complete: run mlops features maintain when the builds have ended and the online table is"
        in waits.stderr
    )
    assert len(json.loads(first_try.stdout)["erasures"][0]["pending"]) == 1
    assert done.stdout.splitlines()[-1].endswith(" is complete: T-1")


def mlops(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "mlops_cli", "features", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project with a package that declares a group."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "declared.py").write_text(MODULE.format(on_hand="long"))
    return tmp_path


def test_lock_writes_beside_the_module_and_then_has_nothing_new(project: Path) -> None:
    """The second run changes nothing; a path may be given."""
    first = mlops("lock", "shop.declared:GROUPS", cwd=project)
    assert (first.returncode, first.stdout) == (0, "shop/features.lock.json: 1 tables; commit it\n")
    text = (project / "shop" / "features.lock.json").read_text()
    assert json.loads(text)["tables"]["stock_v1"]["next_field_id"] == 7
    second = mlops("lock", "shop.declared:GROUPS", cwd=project)
    assert second.stdout == "shop/features.lock.json: 1 tables, unchanged\n"
    assert mlops("lock", "shop.declared:GROUPS", "other.json", cwd=project).returncode == 0
    assert (project / "other.json").read_text() == text


def test_each_refusal_is_a_line_of_its_own(project: Path) -> None:
    """A narrowed and a removed column are two lines on stderr, and the file stays unchanged."""
    mlops("lock", "shop.declared:GROUPS", cwd=project)
    file = project / "shop" / "features.lock.json"
    before = file.read_text()
    (project / "shop" / "declared.py").write_text(MODULE.format(on_hand="int").replace('"price"', '"cost"'))
    result = mlops("lock", "shop.declared:GROUPS", cwd=project)
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "'on_hand' (features.lock.json line 17) has type 'long' and cannot become 'int'" in lines[0]
    assert (
        "'price' (id 6, features.lock.json line 18) is no longer declared ('cost' looks like its new name)" in lines[1]
    )
    assert file.read_text() == before


def test_fails_on_a_lock_file_that_is_not_text(project: Path) -> None:
    """The file stays unchanged."""
    file = project / "shop" / "features.lock.json"
    file.write_bytes(b"\xff")
    result = mlops("lock", "shop.declared:GROUPS", cwd=project)
    assert result.returncode == 1
    assert result.stderr.startswith("mlops: the lock file shop/features.lock.json cannot be read: 'utf-8' codec can't ")
    assert len(result.stderr.splitlines()) == 1
    assert file.read_bytes() == b"\xff"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop.declared"], "mlops: groups must be <module>:<name>, got 'shop.declared'"),
        (["shop.absent:GROUPS"], "mlops: cannot load module 'shop.absent': No module named 'shop.absent'"),
        (
            ["shop.declared:GROUPS", "absent/lock.json"],
            "mlops: cannot write absent/lock.json: No such file or directory",
        ),
    ],
)
def test_fails_when_groups_or_path_are_not_there(project: Path, arguments: list[str], message: str) -> None:
    """Prints one line on stderr and exits with 1; writes nothing."""
    result = mlops("lock", *arguments, cwd=project)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert not (project / "shop" / "features.lock.json").exists()
