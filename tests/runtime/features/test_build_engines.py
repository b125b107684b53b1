"""Build engines outside this process: the engines that a client has."""

from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.build_engines import BuildEngines


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
