"""A training set built by a Glue job for a client, with scripted responses of Glue."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.features import training_set
from mlops_runtime.features.glue_build import DONE, DRAFT, Done, GlueBuilder, GlueBuildError, staged
from mlops_runtime.features.store_client import FeatureStoreClient, FeatureStoreError
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import TrainingSetError, located, requested


class Glue:
    """Returns job states in turn; a given function completes the job at the last."""

    def __init__(self, states: list[str], job: Any = None, message: str = "") -> None:
        self.states, self.job, self.message = states, job, message

    def start_job_run(self, **request: Any) -> dict[str, str]:
        """Start."""
        self.build = request["Arguments"]["--build"]
        return {"JobRunId": "jr_1"}

    def get_job_run(self, **_asked: str) -> dict[str, Any]:
        """Return the next state."""
        state = self.states.pop(0)
        if not self.states and self.job is not None:
            self.job(self.build)
        return {"JobRun": {"JobRunState": state, "ErrorMessage": self.message}}


@pytest.fixture
def started(filled, tmp_path):
    """Return the request, the locations, and a job that builds in this process."""
    client: FeatureStoreClient = filled.client
    request = requested(filled.asked((3, "1"), (4, "9")), [filled.STOCK], name="shelves")
    found = located(client.table, client.table_names(), request)
    ready = training_set.prepared(found, request)
    sets, manifests = Objects(tmp_path / "sets"), Manifests(tmp_path / "manifests")

    def job(build: str) -> None:
        draft = from_json(TrainingSetManifest, sets.get(f"{staged(build)}/{DRAFT}") or b"")
        built = training_set.assemble(
            ready.tables, replace(draft, build=replace(draft.build, engine="spark")), ready.rows
        )
        for path, content in built.files.items():
            sets.put_once(f"{training_set.folder('shelves', built.id)}/{path}", content)
        manifests.write(built.manifest)
        sets.put_once(f"{staged(build)}/{DONE}", canonical_json(Done(training_set_id=built.id)))

    def build(glue: Glue) -> training_set.TrainingSet:
        pauses: list[float] = []
        builder = GlueBuilder(glue=glue, job="build", sets=sets, manifests=manifests, pause=pauses.append)
        with client.builds.begin(tables=["stock_v1"], places=[str(sets)], takes_rows=True) as opened:
            built = builder.build(ready, opened)
        assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0][: len(pauses)]
        return built

    return build, job, sets


def test_the_set_is_read_from_where_the_job_left_it(started) -> None:
    """Rows and files are read lazily; changed bytes are reported, and staged files are removed."""
    build, job, sets = started
    built = build(Glue(["STARTING", *["RUNNING"] * 5, "SUCCEEDED"], job))
    assert built.manifest.build.engine == "spark"
    assert list(built.files) == ["part-0.parquet"]
    assert list(built.splits) == [""]
    assert built.rows.num_rows == len(built.splits[""]) == 2
    assert isinstance(built.rows, pa.Table)
    with pytest.raises(KeyError):
        built.splits["train"]
    assert sets.keys("staged/") == []
    key = f"{training_set.folder('shelves', built.id)}/part-0.parquet"
    sets.erase(key)
    with pytest.raises(TrainingSetError, match="is missing; remove it and build the set again"):
        assert built.rows
    sets.put_once(key, b"other")
    with pytest.raises(TrainingSetError, match=r"has the SHA-256 .* instead of"):
        assert built.rows


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "STOPPED", "ERROR", "EXPIRED"])
def test_a_run_that_ends_otherwise_is_named_with_its_cause(started, state: str) -> None:
    """Staged files are removed."""
    build, _, sets = started
    with pytest.raises(GlueBuildError, match=rf"run jr_1 of build ended {state}: lost; it wrote no manifest"):
        build(Glue(["RUNNING", state], message="lost"))
    assert sets.keys("staged/") == []


def test_a_run_that_does_not_say_what_it_built_is_named(started) -> None:
    """Also a run that built another set."""
    build, _, _ = started
    with pytest.raises(
        GlueBuildError, match="run jr_1 of build did not report a training set; request the training set again"
    ):
        build(Glue(["SUCCEEDED"]))


def test_a_job_needs_a_client_of_glue() -> None:
    """The error names the argument."""
    with pytest.raises(FeatureStoreError, match="spark_job needs a boto3 client of Glue: pass glue="):
        FeatureStoreClient.glue(database="d", environment={"AWS_REGION": "eu-west-1"}, spark_job="build")
