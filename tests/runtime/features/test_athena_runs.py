"""Athena statements run to completion on the embedded cloud, and statements that it rejects."""

from types import SimpleNamespace

import pytest

from mlops_runtime.features.access_errors import SourceError
from mlops_runtime.features.athena_runs import AthenaError, AthenaRuns, quoted


@pytest.fixture(scope="module")
def athena(cloud):
    """Return an Athena client with a result bucket."""
    cloud.client("s3").create_bucket(Bucket="run-results")
    return cloud.client("athena")


def test_a_statement_ends_with_its_id_and_engine(athena):
    """Column types are known without reading a row."""
    runs = AthenaRuns(athena, output="s3://run-results/x/")
    ended = runs.run("select 1 as one")
    assert (ended.engine, len(ended.id)) == ("Athena engine version 3", 36)
    assert runs.columns("select 1 as one, 'a' as text") == {"one": "integer", "text": "varchar"}


def test_columns_of_one_name_or_none_are_refused():
    """A file would have duplicate columns."""
    columns = [{"Name": name, "Type": "integer"} for name in ("a", "", "a")]
    answers = SimpleNamespace(
        start_query_execution=lambda **_: {"QueryExecutionId": "q1"},
        get_query_execution=lambda **_: {"QueryExecution": {"Status": {"State": "SUCCEEDED"}}},
        get_query_results=lambda **_: {"ResultSet": {"ResultSetMetadata": {"ColumnInfo": columns}}},
    )
    with pytest.raises(AthenaError) as caught:
        AthenaRuns(answers).columns("select 1 as a, 2, 3 as a")
    assert caught.value.problems == (
        "column 2 of the query has no name; give it one with as",
        "the query has 2 columns 'a'; give each its own name",
    )


def test_workgroups_that_do_not_run_it(athena):
    """Rejects workgroups without a result location, with an enforced one, disabled or missing."""
    own = {"EnforceWorkGroupConfiguration": True, "ResultConfiguration": {"OutputLocation": "s3://run-results/own/"}}
    athena.create_work_group(Name="sources-strict", Configuration=own)
    athena.create_work_group(Name="sources-plain", Configuration={"EnforceWorkGroupConfiguration": False})
    with pytest.raises(AthenaError, match="enforces its output location, s3://run-results/own; omit output="):
        AthenaRuns(athena, workgroup="sources-strict", output="s3://run-results/mine").place()
    assert AthenaRuns(athena, workgroup="sources-strict").place() == "s3://run-results/own"
    with pytest.raises(AthenaError, match="workgroup sources-plain has no output location; pass one: output="):
        AthenaRuns(athena, workgroup="sources-plain").place()
    athena.update_work_group(WorkGroup="sources-plain", State="DISABLED")
    with pytest.raises(AthenaError) as caught:
        AthenaRuns(athena, workgroup="sources-plain").place()
    assert len(caught.value.problems) == 2
    with pytest.raises(
        SourceError, match=r"reading workgroup nowhere: Athena rejected the request .*\(WorkGroup nowhere not found\)"
    ):
        AthenaRuns(athena, workgroup="nowhere").place()
    with pytest.raises(AthenaError, match="output must be s3://bucket/prefix, got 'results'"):
        AthenaRuns(athena, output="results")


def test_a_query_that_is_interrupted_is_stopped():
    """Cancels the query in Athena, so that it writes nothing later."""
    stopped = []
    waiting = SimpleNamespace(
        start_query_execution=lambda **_: {"QueryExecutionId": "q1"},
        get_query_execution=lambda **_: {"QueryExecution": {"Status": {"State": "RUNNING"}}},
        stop_query_execution=lambda **given: stopped.append(given["QueryExecutionId"]),
    )

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        AthenaRuns(waiting, pause=interrupted).run("select 1")
    assert stopped == ["q1"]


def test_a_long_statement_is_refused_by_its_bytes(athena):
    """Rejects statements beyond Athena's limit without a request."""
    with pytest.raises(AthenaError, match=r"an Athena statement has at most 262,144 bytes, this one has 262,153"):
        AthenaRuns(None).run("select '" + "x" * 262_144 + "'")


def test_a_failed_query_says_why(athena):
    """The error has Athena's reason."""
    with pytest.raises(
        AthenaError, match=r"ended FAILED: TABLE_NOT_FOUND: Table 'awsdatacatalog.none.none' does not exist"
    ):
        AthenaRuns(athena, output="s3://run-results/x", database="none").run("select * from none")


def test_names_are_quoted():
    """Doubles quotes in names."""
    assert quoted('the "units"') == '"the ""units"""'
