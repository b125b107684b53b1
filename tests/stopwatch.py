"""Measures tests for ``tiers``: processor seconds of a test, of its finished child processes, and its share of shared fixtures.

MEASURED_DIR=<folder> pytest -p tests.stopwatch && python -m tests.stopwatch <folder>; it measures whole files, so without ``-k``.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.tiers import MEASURED, SLOW_SECONDS, file_key, key

_FILE_SECONDS = 1.0  # cheaper files are not listed
_TICKS = os.sysconf("SC_CLK_TCK")  # in seconds


def processor_seconds() -> float:
    """Return the processor seconds of this process, of its finished children and of its running ones."""
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime + _of_children("self")


def _of_children(process: str) -> float:
    """Return the seconds of running child processes, such as jsii's Node, which uses as much as Python; Linux only."""
    seconds = 0.0
    for listed in Path("/proc", process, "task").glob("*/children"):
        with contextlib.suppress(OSError):  # the process has ended
            for child in listed.read_text().split():
                times = Path("/proc", child, "stat").read_text().rpartition(")")[2].split()[11:15]
                seconds += sum(map(int, times)) / _TICKS + _of_children(child)
    return seconds


class Stopwatch:
    """Writes a line for each test and each shared fixture."""

    def __init__(self, file: Path) -> None:
        self._file, self._shared = file.open("a"), 0.0

    def _write(self, **row: object) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Measure a fixture with a wider scope than a test."""
        started, before = processor_seconds(), self._shared
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                nested = self._shared - before
                seconds = processor_seconds() - started - nested
                self._shared += seconds
                self._write(fixture=f"{fixturedef.baseid}::{fixturedef.argname}", seconds=seconds)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, nextitem: Any) -> Generator[None, Any, Any]:
        """Keep shared teardown, such as that of the embedded cloud, out of the measurement of the last test."""
        started = processor_seconds()
        try:
            return (yield)
        finally:
            if nextitem is None:
                seconds = processor_seconds() - started
                self._shared += seconds
                self._write(fixture="the end of the run", seconds=seconds)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, Any, Any]:
        """Measure a test from setup to teardown."""
        started, before = processor_seconds(), self._shared
        definitions = [each[-1] for each in item._fixtureinfo.name2fixturedefs.values()]
        shared = [f"{each.baseid}::{each.argname}" for each in definitions if each.scope != "function"]
        try:
            return (yield)
        finally:
            seconds = processor_seconds() - started - (self._shared - before)
            self._write(test=key(item), file=file_key(item.path), seconds=seconds, fixtures=shared)


def pytest_configure(config: pytest.Config) -> None:
    """Start a stopwatch in each test process."""
    folder = Path(os.environ["MEASURED_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    process = os.environ.get("PYTEST_XDIST_WORKER", "main")
    config.pluginmanager.register(Stopwatch(folder / f"{process}.jsonl"))


def summary(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the seconds of slow tests, by the most expensive case, and of files, with their shares of shared fixtures."""
    listed = list(rows)
    users = Counter(name for row in listed for name in row.get("fixtures", ()))
    fixtures: Counter[str] = Counter()
    for row in listed:
        if "fixture" in row:
            fixtures[row["fixture"]] += row["seconds"]
    tests: dict[str, float] = {}
    files: Counter[str] = Counter()
    for row in listed:
        if "test" in row:
            seconds = row["seconds"] + sum(fixtures[name] / users[name] for name in row["fixtures"])
            tests[row["test"]] = max(tests.get(row["test"], 0.0), seconds)
            files[row["file"]] += seconds
    return {
        "files": {name: round(seconds, 1) for name, seconds in files.items() if seconds > _FILE_SECONDS},
        "tests": {name: round(seconds, 2) for name, seconds in tests.items() if seconds > SLOW_SECONDS},
    }


def main(folder: Path) -> None:
    """Write the measurements; files and tests that did not run keep theirs."""
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    found = summary(rows)
    known: dict[str, dict[str, float]] = json.loads(MEASURED.read_text())
    for table, column in (("files", "file"), ("tests", "test")):
        ran = {row[column] for row in rows if column in row}
        known[table] = {**{name: seconds for name, seconds in known[table].items() if name not in ran}, **found[table]}
    MEASURED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
