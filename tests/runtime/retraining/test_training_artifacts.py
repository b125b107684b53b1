"""A training's output is copied once, to a location that trainings cannot write."""

import hashlib
import io
import tarfile
from typing import Any

import pytest
from tests.runtime.rollout.world import World

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import Candidate, TrainingMetrics
from mlops_runtime.retraining import training_artifacts
from mlops_runtime.retraining.training_artifacts import MAXIMUM_BYTES, ArtifactError, Artifacts

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Retrain:one"
TRAINED = "training/demand-forecast/job/output/model.tar.gz"
KEPT = "models/demand-forecast/one/model.tar.gz"


class Writes:
    """S3 with conditional copies, which moto lacks."""

    def __init__(self, s3: Any) -> None:
        self._s3, self.requests = s3, list[dict[str, Any]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def copy_object(self, **arguments: Any) -> Any:
        """CopyObject, rejected if the object exists."""
        self.requests.append(arguments)
        if arguments.get("IfNoneMatch") == "*" and "Contents" in self._s3.list_objects_v2(
            Bucket=arguments["Bucket"], Prefix=arguments["Key"]
        ):
            raise self._s3.exceptions.ClientError({"Error": {"Code": "PreconditionFailed"}}, "CopyObject")
        return self._s3.copy_object(**{k: v for k, v in arguments.items() if k != "IfNoneMatch"})


def _artifacts(world: World) -> tuple[Artifacts, Writes]:
    s3: Any = Writes(world.s3)
    return Artifacts(s3=s3, bucket="artifacts", pipeline="demand-forecast"), s3


def _hash(world: World, key: str) -> str:
    return hashlib.sha256(world.s3.get_object(Bucket="artifacts", Key=key)["Body"].read()).hexdigest()


def test_a_model_is_copied_under_its_execution(world: World) -> None:
    """With S3's hash, and only if nothing is there."""
    artifacts, s3 = _artifacts(world)
    world.s3.put_object(Bucket="artifacts", Key=TRAINED, Body=b"model")
    assert artifacts.keep(f"s3://artifacts/{TRAINED}", EXECUTION) == {
        "artifact_uri": f"s3://artifacts/{KEPT}",
        "artifact_sha256": hashlib.sha256(b"model").hexdigest(),
    }
    assert _hash(world, KEPT) == hashlib.sha256(b"model").hexdigest()
    assert (s3.requests[0]["IfNoneMatch"], s3.requests[0]["ChecksumAlgorithm"]) == ("*", "SHA256")


def test_what_is_kept_stays_whatever_is_written_afterwards(world: World) -> None:
    """A repeated call returns the first copy, so that the evaluated model is the one that serves."""
    artifacts, _ = _artifacts(world)
    world.s3.put_object(Bucket="artifacts", Key=TRAINED, Body=b"model")
    first = artifacts.keep(f"s3://artifacts/{TRAINED}", EXECUTION)
    world.s3.put_object(Bucket="artifacts", Key=TRAINED, Body=b"another")
    assert artifacts.keep(f"s3://artifacts/{TRAINED}", EXECUTION) == first
    assert _hash(world, KEPT) == hashlib.sha256(b"model").hexdigest()


@pytest.mark.parametrize(
    "uri",
    [
        "s3://artifacts/training/pricing-elasticity/job/output/model.tar.gz",
        "s3://other/training/demand-forecast/job/output/model.tar.gz",
        "s3://artifacts/models/demand-forecast/one/model.tar.gz",
    ],
)
def test_what_lies_elsewhere_is_refused(world: World, uri: str) -> None:
    """Another pipeline, another bucket, an existing copy."""
    with pytest.raises(ArtifactError, match="must write below s3://artifacts/training/demand-forecast/"):
        _artifacts(world)[0].keep(uri, EXECUTION)


def test_what_one_copy_cannot_hold_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 copies at most 5 GB in a call."""
    artifacts, s3 = _artifacts(world)
    monkeypatch.setattr(s3, "head_object", lambda **_: {"ContentLength": MAXIMUM_BYTES + 1}, raising=False)
    with pytest.raises(ArtifactError, match=f"must have at most {MAXIMUM_BYTES} bytes, got {MAXIMUM_BYTES + 1}"):
        artifacts.keep(f"s3://artifacts/{TRAINED}", EXECUTION)


def _candidate(content: bytes, key: str = "registered/demand-forecast/a/model.tar.gz") -> Candidate:
    return Candidate(uri=f"s3://artifacts/{key}", sha256=hashlib.sha256(content).hexdigest())


def test_a_model_made_elsewhere_is_kept_by_its_hash(world: World) -> None:
    """From the registrants' prefix; a repeated call verifies the first copy again."""
    artifacts, _ = _artifacts(world)
    candidate = _candidate(b"model")
    world.s3.put_object(Bucket="artifacts", Key=candidate.uri.removeprefix("s3://artifacts/"), Body=b"model")
    for _ in range(2):
        assert artifacts.keep(candidate.uri, EXECUTION, candidate) == {
            "artifact_uri": f"s3://artifacts/{KEPT}",
            "artifact_sha256": hashlib.sha256(b"model").hexdigest(),
        }


def test_fails_for_a_model_that_was_swapped(world: World) -> None:
    """Between request and copy; the error has both hashes and the fix."""
    artifacts, _ = _artifacts(world)
    candidate = _candidate(b"model")
    world.s3.put_object(Bucket="artifacts", Key=candidate.uri.removeprefix("s3://artifacts/"), Body=b"swapped")
    found = hashlib.sha256(b"swapped").hexdigest()
    with pytest.raises(ArtifactError, match=rf"has SHA-256 {found}, expected {candidate.sha256}: .*register the"):
        artifacts.keep(candidate.uri, EXECUTION, candidate)


def test_fails_for_a_candidate_elsewhere(world: World) -> None:
    """A training's output is not a candidate, and the reverse."""
    with pytest.raises(ArtifactError, match="a candidate must be below s3://artifacts/registered/demand-forecast/"):
        _artifacts(world)[0].keep(f"s3://artifacts/{TRAINED}", EXECUTION, _candidate(b"model"))


def _output(world: World, content: bytes) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("metrics.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    world.s3.put_object(
        Bucket="artifacts", Key="training/demand-forecast/job/output/output.tar.gz", Body=packed.getvalue()
    )


def _metrics(world: World) -> TrainingMetrics:
    key = "evaluations/demand-forecast/one/training.json"
    return from_json(TrainingMetrics, world.s3.get_object(Bucket="artifacts", Key=key)["Body"].read())


def test_what_a_script_wrote_of_itself_is_kept_beside_the_evaluation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no training writes; an output that is too large is skipped without a failure."""
    artifacts, _ = _artifacts(world)
    world.s3.put_object(Bucket="artifacts", Key=TRAINED, Body=b"model")
    _output(world, b'{"rmse": 1.5}')
    artifacts.keep(f"s3://artifacts/{TRAINED}", EXECUTION)
    assert _metrics(world).metrics == {"rmse": 1.5}
    monkeypatch.setattr(training_artifacts, "MAXIMUM_ARCHIVE", 10)
    artifacts.keep(f"s3://artifacts/{TRAINED}", EXECUTION)
    assert "the output must have at most 10 bytes packed" in _metrics(world).problems[0]


def test_a_training_without_metrics_is_kept_as_any(world: World) -> None:
    """Nothing is written next to its evaluation."""
    artifacts, _ = _artifacts(world)
    world.s3.put_object(Bucket="artifacts", Key=TRAINED, Body=b"model")
    artifacts.keep(f"s3://artifacts/{TRAINED}", EXECUTION)
    assert "Contents" not in world.s3.list_objects_v2(Bucket="artifacts", Prefix="evaluations/")
