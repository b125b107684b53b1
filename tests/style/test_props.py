"""Names and types of props: the table of ``CONTRIBUTING.md``, compared with every public signature of the constructs."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

import mlops_constructs
from mlops_constructs import BusinessUnit, MetricOptions

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
PUBLIC = {name: getattr(mlops_constructs, name) for name in mlops_constructs.__all__}
# constructed by their factories, which are checked
BY_FACTORY = {"Approval", "Bootstrap", "Delivery", "GitLabSubject", "GoldenRequests", "ModelImage", "Network"}
# constructs that take their unit from the construct they extend
WITHOUT_UNIT = ("DriftAlarms", "EksInferenceService", "ModelMonitor", "MonitorTables")
NAMED = ("Duration", "Path", "Size", "bool")


@dataclass(frozen=True)
class Table:
    """Rows of names and types, and the forbidden names."""

    rows: list[tuple[list[str], set[str]]]
    unused: list[str]

    def problem(self, name: str, found: set[str]) -> str | None:
        """Return why a prop violates the table."""
        if any(fnmatchcase(name, pattern) for pattern in self.unused):
            return f"no prop is named {name}"
        row = next((types for names, types in self.rows if any(fnmatchcase(name, each) for each in names)), None)
        if row is not None and not found <= row:
            return f"{name} must be {' or '.join(sorted(row))}, not {' or '.join(sorted(found))}"
        if row is None and found & set(NAMED):
            return f"{name} ({' or '.join(sorted(found))}) is not in the table"
        return None


def read_table(text: str) -> Table:
    """Read the table of the page."""
    section = text.partition("## Names and types of props\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    rows = [(re.findall(r"`([^`]+)`", names), set(re.findall(r"`([^`]+)`", kinds))) for names, kinds, _ in cells]
    return Table(rows, re.findall(r"`([^`]+)`", section.partition("No prop is named")[2].partition(". ")[0]))


def kinds_of(annotation: object) -> set[str]:
    """Return the names of a value's possible types, without None; element types of collections."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return set().union(*(kinds_of(each) for each in typing.get_args(annotation)))
    kind = typing.get_origin(annotation) or annotation
    name = getattr(kind, "__name__", str(kind))
    return set() if name == "NoneType" else {name}


def _functions() -> Iterator[tuple[str, Callable[..., object]]]:
    for name, item in PUBLIC.items():
        if not inspect.isclass(item):
            yield name, item
        elif not item.__module__.startswith("mlops_runtime."):
            if name not in BY_FACTORY:
                yield name, item.__init__
            for member, found in vars(item).items():
                function = getattr(found, "__func__", found)
                if not member.startswith("_") and inspect.isfunction(function):
                    yield f"{name}.{member}", function


def _props() -> Iterator[tuple[str, str, object]]:
    for name, function in _functions():
        for argument, annotation in typing.get_type_hints(function).items():
            if argument not in {"return", "scope", "id"}:
                yield name, argument, annotation


@pytest.fixture(scope="module")
def table() -> Table:
    """Return the table of the page."""
    return read_table(PAGE.read_text())


def test_every_prop_is_as_the_table_says(table: Table) -> None:
    """Props have the names, types and units of the table."""
    found = [(name, argument, table.problem(argument, kinds_of(kind))) for name, argument, kind in _props()]
    wrong = [f"{name}({argument}=): {problem}" for name, argument, problem in found if problem is not None]
    assert len(found) > 300
    assert wrong == []


def test_every_row_is_of_a_prop(table: Table) -> None:
    """Every row matches an existing prop."""
    names = {argument for _, argument, _ in _props()}
    patterns = [pattern for row, _ in table.rows for pattern in row]
    assert len(patterns) > 40
    assert [each for each in patterns if not any(fnmatchcase(name, each) for name in names)] == []


@pytest.mark.parametrize(
    ("name", "annotation", "problem"),
    [
        ("maximum_wait", cdk.Duration, "no prop is named maximum_wait"),
        ("kept_days", int, "no prop is named kept_days"),
        ("is_online", bool, "no prop is named is_online"),
        ("interval", int, "interval must be Duration, not int"),
        ("schedule", cdk.Duration, "schedule must be str, not Duration"),
        ("lock_file", Path, None),
        ("patience", cdk.Duration | None, "patience (Duration) is not in the table"),
        ("max_wait", cdk.Duration | None, None),
        ("max_pods", str, "max_pods must be float or int, not str"),
        ("labels", Mapping[str, str], None),
    ],
)
def test_what_is_outside_the_table_is_found(table: Table, name: str, annotation: object, problem: str | None) -> None:
    """Finds props with a forbidden name, a wrong type or no row."""
    assert table.problem(name, kinds_of(annotation)) == problem


def test_metrics_take_the_options_of_cloudwatch() -> None:
    """Every metric method takes label, period and statistic."""
    wrong, seen = [], 0
    for name, function in _functions():
        if not name.partition(".")[2].startswith("metric"):
            continue
        hints, seen = typing.get_type_hints(function), seen + 1
        (options,) = typing.get_args(hints["options"]) if "options" in hints else (None,)
        if not set(MetricOptions.__annotations__) <= set(getattr(options, "__annotations__", ())):
            wrong.append(name)
        if not issubclass(hints["return"], cloudwatch.Metric | cloudwatch.MathExpression):
            wrong.append(f"{name} -> {hints['return']}")
    assert seen > 60
    assert wrong == []


def test_a_construct_takes_its_unit_from_what_it_extends() -> None:
    """A second unit argument could contradict the first."""
    given = [name for name in WITHOUT_UNIT if "business_unit" in inspect.signature(PUBLIC[name].__init__).parameters]
    assert given == []
    assert "platform" in inspect.signature(BusinessUnit.__init__).parameters
