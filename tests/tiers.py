"""The suite's tiers: ``cloud`` by a test's fixtures, ``slow`` by its measured seconds, ``long`` by those of its file.

``stopwatch`` beside this module writes slow tests to ``measured.json``.
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

MEASURED = Path(__file__).with_name("measured.json")
SLOW_SECONDS = 0.06  # processor seconds; with a higher limit the default run takes longer than 90 s on two cores
LONG_SECONDS = 3.0  # processor seconds of a file; with a higher limit the default run takes longer than ten minutes
_DEFAULT = "not campaign and not long"
_QUICK_SECONDS = 0.01  # for a test that was not slow
_NEVER_LONG = {"contract/test_contract.py", "examples/test_demo.py"}  # templates of all examples; the whole loop
_STARTS_A_CLOUD = {"up", "connect"}  # of mlops_local.cloud
_LONG = ("campaign", "demo", "spark")
# fixtures that tests of several files share: one process of the suite creates them once for all
_SHARING = {
    "the Spark session of tests.runtime.spark": (
        "test_distributed_baselines.py",
        "test_distributed_build.py",
        "test_distributed_labels.py",
        "test_ingest_spark.py",
        "test_table_history.py",
    ),
    "the accounts of tests.promotion_attacks": (
        "promotion_attacks/test_attacks.py",
        "promotion_attacks/test_moments.py",
    ),
}


def key(item: pytest.Item) -> str:
    """Name a test without its folder and cases, so that a moved file keeps its measurements."""
    name = getattr(item, "originalname", None) or item.name
    return f"{item.path.name}::{name}"


def file_key(path: Path) -> str:
    """Name a test file by its path below ``tests``."""
    return Path(os.path.relpath(path, MEASURED.parent)).as_posix()


@functools.cache
def _measurements() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(MEASURED.read_text())
    return found


def measured() -> dict[str, float]:
    """Return the seconds of every slow test, by its most expensive case."""
    return _measurements()["tests"]


def measured_files() -> dict[str, float]:
    """Return the seconds of every expensive file: of all its tests and cases, with its share of shared fixtures."""
    return _measurements()["files"]


def is_cloud(item: pytest.Item) -> bool:
    """Return whether a test uses an embedded cloud, shared or its own."""
    info: Any = getattr(item, "_fixtureinfo", None)
    definitions = [each[-1] for each in info.name2fixturedefs.values()] if info is not None else []
    codes = [getattr(getattr(each, "func", None), "__code__", None) for each in definitions]
    return any(code is not None and _STARTS_A_CLOUD.intersection(code.co_names) for code in codes)


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests of the most expensive files first: a long file that starts last would occupy one process alone."""
    counts = Counter(item.path for item in items)
    seconds = {path: measured_files().get(file_key(path), count * _QUICK_SECONDS) for path, count in counts.items()}
    return sorted(items, key=lambda item: -seconds[item.path])


@functools.cache
def is_long(path: Path) -> bool:
    """Return whether a file's tests took above ``LONG_SECONDS``; the whole loop and the templates are always in the default suite.

    Whole files, since the tests of one file share a deployment and often go on from each other's state.
    """
    return measured_files().get(file_key(path), 0.0) > LONG_SECONDS and file_key(path) not in _NEVER_LONG


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Select the default suite; files that the command line names run whole, long ones too."""
    if not config.option.markexpr:
        is_named = config.args_source is pytest.Config.ArgsSource.ARGS
        config.option.markexpr = "not campaign" if is_named else _DEFAULT


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of which the default suite, or that of the long files, runs no test."""
    expression = config.option.markexpr
    if expression not in (_DEFAULT, "long") or not collection_path.match("test_*.py"):
        return None
    return is_long(collection_path) is (expression == _DEFAULT) or None


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use three processes, as most tests wait; one for the fast tier, where each process would repeat the collection."""
    return min(3, os.cpu_count() or 1) if "not cloud" in config.option.markexpr else 3


class _Scheduling(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """Assigns whole files to a process, and files with the same shared fixtures to the same process."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((shared for shared, files in _SHARING.items() if file.endswith(files)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Return the suite's scheduler."""
    return _Scheduling(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests before ``-m`` selects among them; parallel runs start with the most expensive files."""
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)
    for item in items:
        if key(item) in measured() or any(item.get_closest_marker(name) for name in _LONG):
            item.add_marker("slow")
        if is_long(item.path) and not item.get_closest_marker("campaign"):
            item.add_marker("long")
        if is_cloud(item):
            item.add_marker("cloud")
