"""An unknown table and model through the verbs of the command: ``mlops demo --own``."""

import json

import pyarrow.compute as pc
import pytest
from examples.flights.table import LABEL, TIME, flights
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command


def test_the_table_has_what_is_known_when_a_plane_leaves() -> None:
    """Only the label contains arrivals; each row has a time, in order."""
    table = flights()
    assert table.num_rows == 327_346
    assert not {"arr_time", "air_time", "dep_time"} & set(table.column_names)
    assert table[LABEL].null_count == 0
    times = table[TIME]
    assert pc.all(pc.less_equal(times[:-1], times[1:])).as_py()


@pytest.mark.parametrize("option", [("--unit", "dynamic_pricing"), ("--target", "eks")])
def test_options_of_the_retail_units_are_refused(option: tuple[str, str]) -> None:
    """This demo has its own unit."""
    result = CliRunner().invoke(command, ["demo", "--own", *option])
    assert result.exit_code != 0
    assert option[1] in str(result.exception)


@pytest.mark.campaign
def test_every_verb_does_what_it_should() -> None:
    """Covers a project, a model, calls and labels, a report, a canary, a rollback, and a refusal."""
    result = CliRunner().invoke(command, ["demo", "--own", "--json"])
    assert result.exit_code == 0, result.output
    steps = json.loads(result.stdout)["steps"]
    assert [step["ok"] for step in steps] == [True] * 12
    assert steps[-1]["detail"].startswith("REJECTED: "), steps[-1]
