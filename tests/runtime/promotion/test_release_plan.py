"""Accepted releases, and named rejections of all others."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.passed import gate_of
from tests.released import SOURCE, TARGET, Released, release

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import Evaluation, GateVerdict
from mlops_runtime.contracts.release import ReleasedObject
from mlops_runtime.promotion.environment_link import LinkedEnvironment
from mlops_runtime.promotion.release_plan import (
    MAXIMUM_OBJECT,
    ReleaseRefusedError,
    Target,
    check_source,
    check_time,
    copies,
    evidence_problems,
    local_package,
    own_image,
    read_release,
    registration,
)
from mlops_runtime.registry.model_package import container_sha256, read_package
from mlops_runtime.registry.package_registry import gate_uri

HERE = Target(
    unit="demand",
    group="demand-forecast",
    here=TARGET,
    source=SOURCE,
    source_name="build",
    bucket="here",
    signing_key="arn:aws:kms:eu-west-1:222222222222:key/own",
)
NOW = datetime(2017, 8, 1, 9, 0, tzinfo=UTC)
ONE = release()


def _read(released: Released, target: Target = HERE) -> Any:
    return read_release(released.content, uri=released.uri, sha256=released.sha256, target=target)


def _object(name: str, **changes: Any) -> dict[str, ReleasedObject]:
    return {name: replace(getattr(ONE.record, name), **changes)}


def _package(**changes: Any) -> dict[str, Any]:
    return {"package": replace(ONE.record.package, **changes)}


def test_a_release_is_read_as_it_was_written() -> None:
    """With the binding of the described package."""
    assert _read(ONE) == ONE.record


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"unit": "pricing"}, "unit is 'pricing', expected 'demand'"),
        ({"group": "demand-returns"}, "group is 'demand-returns'"),
        ({"account": "333333333333"}, "account is '333333333333', expected '111111111111'"),
        ({"region": "eu-north-1"}, "region is 'eu-north-1'"),
        ({"binding": "0" * 64}, "binding '" + "0" * 64 + "' is not that of the package"),
        ({"binding": "short"}, "binding must be 64 hexadecimal digits"),
        ({"approval": ""}, "approval is empty"),
        *(
            ({name: value}, f"{name} must be 1 to 2,048 characters of ASCII without spaces")
            for name in ("approved_by", "execution", "audit_chain")
            for value in ("", "ann\n\nApproved by security", "a" * 2049, "\u202enna")
        ),
        ({"audit_hash": "x"}, "audit_hash must be 64 hexadecimal digits"),
        (_object("artifact", size=MAXIMUM_OBJECT + 1), "one copy must have 1 to"),
        (_object("artifact", size=0), "artifact has 0 bytes"),
        (_object("artifact", sha256="0" * 64), "the package's artifact_sha256 is"),
        (
            _object("artifact", uri="s3://artifacts/models/pricing-elasticity/one/model.tar.gz"),
            "artifact must be in bucket",
        ),
        (
            _object("artifact", uri="s3://other/models/demand-forecast/alarm-1/model.tar.gz"),
            "artifact must be in bucket",
        ),
        (_object("gate", uri="s3://artifacts/monitor/demand-forecast/counts.json"), "gate must be in bucket"),
        (_object("gate", uri="s3://artifacts/gates/demand-forecast/../../x.json"), "gate must be in bucket"),
        (_object("evaluation", sha256="nothing"), "evaluation.sha256 must be 64 hexadecimal digits"),
        (_object("baseline", sha256="0" * 64), "the package's baseline_sha256 is"),
        (_package(group="demand-returns"), "the package's group is 'demand-returns'"),
        (_package(package_arn=None), "the package must be one of arn:aws:sagemaker:eu-west-1:111111111111"),
        (_package(package_arn=SOURCE.arn("sagemaker", "model-package/demand-returns/1")), "the package must be one of"),
        (_package(model_sha256="0" * 64), "is not that of the package in the record"),
        (_package(environment={"LD_PRELOAD": "/x"}), "is not that of the package in the record"),
        (
            _package(image="111111111111.dkr.ecr.eu-west-1.amazonaws.com/mlops-runtime:latest"),
            "the image must be one of ECR by digest",
        ),
        (
            _package(image=ONE.record.package.image.replace("111111111111", "999999999999")),
            "is of account 999999999999, but must be in the source's own registry",
        ),
        (_package(flavor="sklearn", trust="pickle"), "pickle"),
    ],
)
def test_what_is_not_one_of_this_unit_group_and_source_is_refused(changes: dict[str, Any], named: str) -> None:
    """By the record alone, before anything else is read or copied."""
    with pytest.raises(ReleaseRefusedError) as error:
        _read(ONE.changed(**changes))
    assert named in str(error.value)
    assert not error.value.may_pass


def _written(**fields: Any) -> Any:
    content = canonical_json({**json.loads(ONE.content), **fields})
    return read_release(content, uri=ONE.uri, sha256=hashlib.sha256(content).hexdigest(), target=HERE)


def test_a_later_source_may_say_more_and_nothing_that_must_be_obeyed() -> None:
    """Unknown fields have no effect; another format is rejected by name."""
    package = {**json.loads(canonical_json(ONE.record.package)), "licence": "MIT"}
    assert _written(reviewed_by="ann", package=package) == ONE.record
    with pytest.raises(ReleaseRefusedError, match=r"format must be one of 'mlops.release/1', got 'mlops.release/2'"):
        _written(format="mlops.release/2", embargo="2017-09-01")


def test_every_problem_is_named_at_once() -> None:
    """The developer of a source gets them with the first release."""
    with pytest.raises(ReleaseRefusedError) as error:
        _read(ONE.changed(unit="pricing", region="eu-north-1", **_object("gate", size=0)))
    assert len(error.value.problems) == 3


def test_other_bytes_than_the_event_named_are_refused() -> None:
    """Write access to the source's bucket is not enough to change the event."""
    with pytest.raises(ReleaseRefusedError, match=", expected "):
        read_release(ONE.content + b" ", uri=ONE.uri, sha256=ONE.sha256, target=HERE)
    content = b"{}"
    with pytest.raises(ReleaseRefusedError, match="is not a release record"):
        read_release(content, uri=ONE.uri, sha256=hashlib.sha256(content).hexdigest(), target=HERE)
    with pytest.raises(ReleaseRefusedError, match="is not the URI of the record of binding"):
        read_release(ONE.content, uri=ONE.uri.replace(ONE.record.binding, "0" * 64), sha256=ONE.sha256, target=HERE)


def test_a_release_that_is_older_than_the_newest_taken_is_stale() -> None:
    """Also one that was never taken; the same one may be repeated."""
    newest = ("2017-08-01T08:59:00.000000+00:00", "e" * 64)
    with pytest.raises(ReleaseRefusedError, match="stale"):
        check_time(ONE.record, newest=newest, sha256=ONE.sha256, now=NOW)
    check_time(ONE.record, newest=(newest[0], ONE.sha256), sha256=ONE.sha256, now=NOW)
    check_time(ONE.record, newest=None, sha256=ONE.sha256, now=NOW)
    with pytest.raises(ReleaseRefusedError, match="in the future"):
        check_time(replace(ONE.record, released_at="2017-08-01T09:06:00Z"), newest=None, sha256=ONE.sha256, now=NOW)
    with pytest.raises(ReleaseRefusedError, match="must be a time"):
        check_time(replace(ONE.record, released_at="soon"), newest=None, sha256=ONE.sha256, now=NOW)
    with pytest.raises(ReleaseRefusedError, match="must be a time"):
        check_time(
            replace(ONE.record, released_at="0001-01-01T00:00:00+14:00"), newest=None, sha256=ONE.sha256, now=NOW
        )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ModelApprovalStatus": "Rejected"}, "is Rejected (Completed) in the source, no longer approved"),
        ({"ModelPackageArn": "arn:other"}, "the source's registry returned arn:other"),
        ({"ApprovalDescription": f"[binding {'0' * 64}]"}, "the approval of"),
        (
            {"CustomerMetadataProperties": {}},
            "the source's registry: CustomerMetadataProperties.artifact_sha256 is missing",
        ),
    ],
)
def test_the_source_is_asked_once_more(changes: dict[str, Any], named: str) -> None:
    """An approval withdrawn since the release stops it."""
    check_source(ONE.record, ONE.description)
    with pytest.raises(ReleaseRefusedError) as error:
        check_source(ONE.record, {**ONE.description, **changes})
    assert named in str(error.value)


@pytest.mark.parametrize(
    "changes", [{"approved_by": "arn:aws:sts::1:assumed-role/A/bob"}, {"approval": "bob likes it"}]
)
def test_who_approved_is_who_the_source_says(changes: dict[str, str]) -> None:
    """Without an approver in the source's registry nothing more is read."""
    description = {
        **ONE.description,
        "LastModifiedBy": {"IamIdentity": {"Arn": ONE.record.approved_by}},
    }
    check_source(ONE.record, description)
    (name,) = changes
    with pytest.raises(ReleaseRefusedError, match=f"{name} is '{changes[name]}', but the source's registry has"):
        check_source(replace(ONE.record, **changes), description)


def test_copies_lie_under_what_they_are() -> None:
    """The archive by its own hash; the gate's result at the location given by the evaluation."""
    found = {each.name: each for each in copies(ONE.record, target=HERE, execution="arn:x:Promote:one-1")}
    evaluation = f"s3://here/{found['evaluation'].key}"

    assert found["artifact"].key == f"models/demand-forecast/{ONE.record.artifact.sha256}/model.tar.gz"
    assert found["artifact"].incoming == "incoming/demand-forecast/one-1/model.tar.gz"
    assert found["artifact"].source == "artifacts/models/demand-forecast/alarm-1/model.tar.gz"
    assert gate_uri(evaluation) == f"s3://here/{found['gate'].key}"
    assert [each.name for each in copies(replace(ONE.record, gate=None), target=HERE, execution="x")] == [
        "artifact",
        "evaluation",
        "baseline",
    ]


def test_evidence_of_another_model_is_refused() -> None:
    """The record has the hashes; the contents must match the package."""
    evaluation = ONE.objects["evaluations/demand-forecast/alarm-1/evaluation.json"]
    gate = ONE.objects["gates/demand-forecast/alarm-1.json"]
    assert evidence_problems(ONE.record, evaluation, gate) == []
    assert evidence_problems(ONE.record, evaluation, None) == []

    other = canonical_json(replace(from_json(Evaluation, evaluation), model_sha256="0" * 64))
    assert "the evaluation is of model_sha256" in evidence_problems(ONE.record, other, gate)[0]
    failed = canonical_json(gate_of(evaluation, execution="alarm-1", verdict=GateVerdict.FAILED))
    assert "the gate's verdict is FAILED" in evidence_problems(ONE.record, evaluation, failed)[0]
    of_other = canonical_json(gate_of(other, execution="alarm-1"))
    assert "the gate decided on an evaluation" in evidence_problems(ONE.record, evaluation, of_other)[0]
    assert "cannot be read" in evidence_problems(ONE.record, b"{}", gate)[0]


def test_the_package_is_one_of_the_target() -> None:
    """Locations, image and key are local, its origin is bound, and it reads back."""
    container, metadata = registration(ONE.record, target=HERE)
    description = {
        "ModelPackageArn": "arn:aws:sagemaker:eu-west-1:222222222222:model-package/demand-forecast/1",
        "ModelPackageGroupName": "demand-forecast",
        "CustomerMetadataProperties": metadata,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(ONE.record.package.content_types),
        },
    }
    package = read_package(description)

    assert replace(package.spec, package_arn=None) == local_package(ONE.record, target=HERE)
    assert package.container_sha256 != ONE.record.binding
    assert package.spec.source_binding == ONE.record.binding
    assert package.spec.source_package == ONE.record.package.package_arn
    assert package.spec.source_record == ONE.record.audit_hash
    assert package.spec.source_environment == "build"
    assert package.spec.signing_key == HERE.signing_key
    assert package.spec.image == own_uri()
    assert container_sha256(container, {**metadata, "source_binding": "0" * 64}) != package.container_sha256
    assert "111111111111" not in str(
        {**package.spec.environment, "a": package.spec.artifact_uri, "b": package.spec.image}
    )


def own_uri() -> str:
    """Return the image in the target's registry."""
    image = own_image(ONE.record, HERE)
    return f"222222222222.dkr.ecr.eu-west-1.amazonaws.com/{image.repository}@{image.digest}"


def test_an_image_is_named_where_it_was_found() -> None:
    """Also in the source's registry if images are shared (not by default); never in a third one."""
    shared = replace(HERE, shares_images=True)
    container, metadata = registration(ONE.record, target=shared, registry=SOURCE.account)

    assert container["Image"] == ONE.record.package.image
    assert metadata["container_sha256"] != registration(ONE.record, target=shared)[1]["container_sha256"]
    assert local_package(ONE.record, target=shared).image == own_uri()
    assert registration(ONE.record, target=shared, registry=TARGET.account) == registration(ONE.record, target=HERE)
    for target, registry in ((HERE, SOURCE.account), (shared, "999999999999")):
        with pytest.raises(ReleaseRefusedError, match=f"but was found in that of '{registry}'"):
            registration(ONE.record, target=target, registry=registry)


def test_a_source_of_another_region_is_not_asked() -> None:
    """Functions there cannot call its registry."""
    assert HERE.is_source_readable
    assert not replace(HERE, source=LinkedEnvironment(account="111111111111", region="us-east-1")).is_source_readable
