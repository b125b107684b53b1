"""Builds declare their reads beforehand and keep nothing once an erasure has begun."""

from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts.features import BuildProcess, ErasedTable, Erasure
from mlops_runtime.features import training_set as sets
from mlops_runtime.features.build_intent import Builds, ErasedDuringBuildError
from mlops_runtime.features.training_set_manifest import ManifestError, Manifests, Objects


def begin(builds, **options):
    """Open a build."""
    return builds.begin(**({"tables": ["stock_v1"], "places": ["/sets"], "takes_rows": True} | options))


def test_a_build_is_open_and_held_until_it_ends(tmp_path):
    """The process holds the lock of the intent."""
    builds = Builds(tmp_path)
    with begin(builds) as build:
        (found,) = builds.unclosed()
        assert found == build.intent
        assert found.process.kind == "lock"
        assert builds.is_locked(found.id)

    assert builds.unclosed() == ()
    assert not builds.is_locked(found.id)


def test_the_intent_comes_before_any_state_is_read(filled, monkeypatch):
    """Otherwise an erasure would miss builds that have read the rows."""
    seen = []

    def load(client, name):
        seen.append([intent.tables for intent in client.builds.unclosed()])
        return loaded(client, name)

    loaded = type(filled.client).table
    monkeypatch.setattr(type(filled.client), "table", load)
    filled.client.training_set(filled.asked((3, "1")), [filled.STOCK], name="early")

    assert seen == [[("stock_v1",)]]


def test_a_fenced_build_keeps_nothing(filled, monkeypatch):
    """Keeps no files, entity rows or manifest; after the erasure the same request can be built."""
    put = Objects.put_once

    def fence_first(objects, key, content):
        if key.startswith("entities/"):
            (intent,) = filled.client.builds.unclosed()
            filled.client.builds.fence(intent.id, "e1")
        return put(objects, key, content)

    with monkeypatch.context() as fenced:
        fenced.setattr(Objects, "put_once", fence_first)
        with pytest.raises(
            ErasedDuringBuildError, match=r"erasure e1 began while this training set was built.*build it again"
        ):
            filled.client.training_set(filled.asked((3, "1")), [filled.STOCK], name="late")

    assert list((filled.path / "training_sets").rglob("*.parquet")) == []
    assert filled.client.manifests.ids() == ()
    assert filled.client.builds.unclosed() == ()
    assert filled.client.training_set(filled.asked((3, "1")), [filled.STOCK], name="late").rows.num_rows == 1


def test_files_of_an_earlier_set_stay(filled, monkeypatch):
    """A fenced repeat does not remove files that an earlier build wrote."""
    built = filled.client.training_set(filled.asked((3, "1")), [filled.STOCK], name="twice")
    kept = sorted((filled.path / "training_sets").rglob("*.parquet"))
    monkeypatch.setattr(sets, "place", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), begin(filled.client.builds) as build:
        sets.keep(built, Objects(filled.path / "training_sets"), filled.client.manifests, build)

    assert sorted((filled.path / "training_sets").rglob("*.parquet")) == kept


def test_a_fence_that_comes_later_does_not_count(tmp_path):
    """The build has already committed to its files, and the erasure waits for its manifest."""
    builds = Builds(tmp_path)
    with begin(builds) as build:
        build.check()
        assert builds.fence(build.intent.id, "e1").erasure is None


def test_an_answer_that_was_lost_is_read(tmp_path):
    """A retried S3 request recognises the client's own object and does not mistake it for an erasure's."""
    builds = Builds(tmp_path)
    with begin(builds) as build:
        build.check()
        build.check()


def test_a_build_that_fails_removes_its_files_and_is_closed(tmp_path):
    """Applies to any failure."""
    builds, objects = Builds(tmp_path / "manifests"), Objects(tmp_path / "sets")
    with pytest.raises(ZeroDivisionError), begin(builds) as build:
        assert build.put_once(objects, "a", b"1")
        assert not build.put_once(objects, "a", b"2")
        raise ZeroDivisionError

    assert objects.keys("") == []
    assert builds.unclosed() == ()


@pytest.mark.parametrize("has_ended", [True, False])
def test_files_that_an_erasure_took_meanwhile_are_named(tmp_path, has_ended):
    """A running erasure removes files that no record names yet."""
    builds, erasures = Builds(tmp_path), Manifests(tmp_path)
    erasure = Erasure(id="e1", at="2017-01-02T00:00:00+00:00", reason="T", entities=(), tables=(), used_by=())
    erasures.begin(erasure)
    if has_ended:
        uuid = str(uuid4())
        erasures.take(
            "e1",
            ErasedTable(table="stock_v1", table_uuid=uuid, snapshots=(1,), tags=(), files=("file:///a/gone.avro",)),
        )
        erasures.end(erasure)
    message = r"files of stock_v1 disappeared while they were read, .*: .*gone.avro; .*build it again"
    with pytest.raises(ErasedDuringBuildError, match=message), begin(builds):
        raise FileNotFoundError("gone.avro")
    assert builds.unclosed() == ()
    if has_ended:
        with pytest.raises(FileNotFoundError, match="other"), begin(builds):
            raise FileNotFoundError("other.avro")


@pytest.mark.parametrize(
    ("environment", "process"),
    [
        ({"PROCESSING_JOB_NAME": "demand-set"}, BuildProcess(kind="processing-job", name="demand-set")),
        ({}, None),
    ],
)
def test_who_builds_in_s3_is_a_job_or_unknown(monkeypatch, environment, process):
    """SageMaker reports the end of a job; the end of other processes is unknown."""
    monkeypatch.delenv("PROCESSING_JOB_NAME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="kept")
        builds, sets = Builds("s3://kept/manifests", s3=s3), Objects("s3://kept/sets", s3=s3)
        with pytest.raises(ZeroDivisionError), begin(builds) as build:
            assert builds.unclosed() == (build.intent,)
            assert not builds.is_locked(build.intent.id)
            assert build.intent.process.kind == "other" if process is None else build.intent.process == process
            build.put_once(sets, "a", b"1")
            raise ZeroDivisionError
        assert builds.unclosed() == ()
        assert sets.keys("") == ["a"]  # a job may remove nothing


def test_fails_when_an_intent_cannot_be_read(tmp_path):
    """The builder of an unreadable intent is unknown."""
    (tmp_path / "builds").mkdir()
    (tmp_path / "builds" / "a.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"builds/a.json in .* cannot be read: .*; use the version of the library"):
        Builds(tmp_path).unclosed()
    assert Manifests(tmp_path).ids() == ()
