"""Engines beyond this process: what a client knows of them."""

from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.build_engines import BuildEngines


def known(engines: BuildEngines) -> list[str]:
    """Return the engines that have a builder."""
    builders = engines.builders(None, None, None, staged=["staged/a"], s3=None)
    return [name for name, builder in builders.items() if builder is not None]


def test_only_engines_that_are_known_build():
    """A folder's client knows none."""
    assert known(BuildEngines()) == []
    assert known(BuildEngines(None, "job")) == ["on_spark"]
    assert known(BuildEngines(None, None, AthenaRuns(None))) == ["on_athena"]


def test_only_a_set_asked_of_athena_is_staged_by_this_process():
    """Each below a name of its own, which the build's intent has."""
    engines = BuildEngines(None, "job", AthenaRuns(None))
    assert [engines.staged(engine) for engine in (None, "duckdb", "spark")] == [[], [], []]
    (first,), (second,) = engines.staged("athena"), engines.staged("athena")
    assert first.startswith("staged/")
    assert first != second
    assert BuildEngines().staged("athena") == []
