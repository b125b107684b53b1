"""Building and storing a store's training sets: rows of any origin, errors before the build opens, and engines."""

from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.feature_service import FeatureService
from mlops_runtime.features.row_files import RowFiles
from mlops_runtime.features.set_builds import BuildEngines
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.training_set_request import requested


def test_rows_of_files_have_the_keys_of_the_tables(filled: SimpleNamespace) -> None:
    """A frame is used as it is."""
    builds, rows = filled.client._set_builds, filled.asked((6, "1"), (7, "1"))
    pq.write_table(rows, filled.path / "rows.parquet")

    assert builds.rows(rows, [filled.STOCK], "event_timestamp", None) is rows
    read = builds.rows(RowFiles(filled.path / "rows.parquet"), [filled.STOCK], "event_timestamp", None)
    assert pa.table(read)["store_id"].to_pylist() == ["1", "1"]


def test_a_service_whose_group_is_missing_opens_no_build(filled: SimpleNamespace) -> None:
    """Nothing is stored either."""
    absent = FeatureGroup(**{name: getattr(filled.STOCK, name) for name in filled.STOCK.__slots__} | {"name": "absent"})
    service = FeatureService(name="shelves", features=(absent,))
    request = requested(filled.asked((6, "1")), service, name="shelves")
    builds = filled.client._set_builds

    with pytest.raises(FeatureTableError, match="absent_v1"):
        builds.build(request, service)
    assert (filled.client.builds.unclosed(), filled.client.manifests.ids()) == ((), ())


def test_what_is_built_is_kept_and_closed(filled: SimpleNamespace) -> None:
    """Files, manifest and service are stored, and the build is closed."""
    service = FeatureService(name="shelves", features=(filled.STOCK,))
    request = requested(filled.asked((6, "1")), service, name="shelves")

    built = filled.client._set_builds.build(request, service)

    assert filled.client.manifests.ids() == (built.id,)
    assert filled.client.services.get("shelves", 1) == service.spec
    assert filled.client.builds.unclosed() == ()


def known(engines: BuildEngines) -> list[str]:
    """Return the engines with a builder."""
    builders = engines.builders(None, None, None, staged=["staged/a"], s3=None)
    return [name for name, builder in builders.items() if builder is not None]


def test_only_engines_that_are_known_build():
    """A folder's client has no other engine."""
    assert known(BuildEngines()) == []
    assert known(BuildEngines(None, "job")) == ["on_spark"]
    assert known(BuildEngines(None, None, AthenaRuns(None))) == ["on_athena"]


def test_only_a_set_asked_of_athena_is_staged_by_this_process():
    """Each staging path has a unique name, which is in the build's intent."""
    engines = BuildEngines(None, "job", AthenaRuns(None))
    assert [engines.staged(engine) for engine in (None, "duckdb", "spark")] == [[], [], []]
    (first,), (second,) = engines.staged("athena"), engines.staged("athena")
    assert first.startswith("staged/")
    assert first != second
    assert BuildEngines().staged("athena") == []
