"""Validity of approvals, the parameter of a package group, and the requests that approve or reject a package."""

import json
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.registry.package_samples import SPEC

from mlops_runtime.aws_api.api_request import check_request
from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.registry.model_package import (
    ALSO_BOUND,
    BOUND,
    PackageError,
    container_sha256,
    package_request,
    read_package,
    registered_metadata,
)
from mlops_runtime.registry.package_approval import (
    BY_POLICY,
    MAXIMUM_REASON,
    ApprovalRule,
    RegistryEntry,
    approval_description,
    approval_problems,
    approval_requests,
    bound_by,
    changed_while_pending,
    has_role,
    is_automatic,
    is_registry_parameter,
    is_settled,
    registry_parameter,
    rejection_request,
    review,
    timeout_problems,
    unapprovable,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
APPROVER = "arn:aws:iam::123456789012:role/people/Approver"
MACHINE = "arn:aws:iam::123456789012:role/Retrain"
RULE = ApprovalRule(approvers=(APPROVER,), machines=(MACHINE,), timeout_seconds=7 * 86400)
ANN = "arn:aws:sts::123456789012:assumed-role/Approver/ann@example.com"
RETRAIN = "arn:aws:sts::123456789012:assumed-role/Retrain/abc"
_NAMES = st.text(string.ascii_letters + string.digits + "_+=,.@-", min_size=1, max_size=20)


RULE_OF_PEOPLE = ApprovalRule(approvers=("arn:aws:iam::123456789012:role/Approver",), timeout_seconds=7 * 86400)
ANN_AS_APPROVER = "arn:aws:sts::123456789012:assumed-role/Approver/ann"


def _described(**changes: Any) -> dict[str, Any]:
    request = package_request(SPEC, approval="Approved")
    bound = request["CustomerMetadataProperties"]["container_sha256"]
    return (
        request
        | {
            "ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1",
            "ModelPackageStatus": "Completed",
            "CreationTime": NOW - timedelta(days=1),
            "LastModifiedTime": NOW - timedelta(hours=1),
            "LastModifiedBy": {"IamIdentity": {"Arn": ANN, "PrincipalId": "AROA:ann"}},
            "ApprovalDescription": approval_description("better in every segment", bound=bound),
        }
        | changes
    )


def _problems(description: dict[str, Any], rule: ApprovalRule = RULE) -> list[str]:
    return approval_problems(description, read_package(description), rule=rule, now=NOW)


def _by(identity: str) -> dict[str, Any]:
    return {"IamIdentity": {"Arn": identity}}


def test_an_approver_who_bound_what_is_there_approves() -> None:
    """A person approved the bound content."""
    assert _problems(_described()) == []
    assert not is_automatic(_described())


@pytest.mark.parametrize(
    ("artifacts", "is_refused"),
    [
        ((), False),
        (("s3://artifacts/",), False),
        (("s3://other/", "s3://artifacts/model"), False),
        (("s3://artifacts/models/a/", "s3://artifacts/models/b/"), True),
    ],
)
def test_an_artefact_must_lie_where_an_endpoint_may_read(artifacts: tuple[str, ...], is_refused: bool) -> None:
    """Below one of the rule's locations; a rule without locations does not check it."""
    rule = ApprovalRule(approvers=(APPROVER,), artifacts=artifacts)
    expected = (
        "the artefact must be below s3://artifacts/models/a/ or s3://artifacts/models/b/, as the endpoint's role may read nothing "
        "else, got 's3://artifacts/model.tar.gz'; copy it there and register the package again"
    )

    assert _problems(_described(), rule) == ([expected] if is_refused else [])


def test_the_machine_approves_by_policy() -> None:
    """Its description has a prefix that people's may not have."""
    text = f"{BY_POLICY}: better [binding {bound_by(_described())}]"
    described = _described(LastModifiedBy=_by(RETRAIN), ApprovalDescription=text)

    assert _problems(described) == []
    assert is_automatic(described)
    (problem,) = _problems(described, ApprovalRule(approvers=(APPROVER,)))
    assert problem.startswith(f"{RETRAIN} approved it, or changed it after it was approved, but only {APPROVER} may")


@pytest.mark.parametrize(
    "identity",
    [
        "arn:aws:sts::123456789012:assumed-role/Admin/ann@example.com",
        "arn:aws:sts::999999999999:assumed-role/Approver/ann@example.com",
        "arn:aws-cn:sts::123456789012:assumed-role/Approver/ann@example.com",
        "arn:aws:sts::123456789012:assumed-role/Approver2/ann",
        "arn:aws:sts::123456789012:assumed-role/people/Approver/ann",
        "arn:aws:sts::123456789012:federated-user/Approver",
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:user/Approver",
    ],
)
def test_nobody_else_approves(identity: str) -> None:
    """Another role, another account, another partition, no role."""
    (problem,) = _problems(_described(LastModifiedBy=_by(identity)))

    assert identity in problem
    assert f"only {APPROVER} or {MACHINE} may; approve it again in that role" in problem


@pytest.mark.parametrize("modified", [{}, {"UserProfileName": "ann"}])
def test_an_approval_without_an_identity_does_not_count(modified: dict[str, Any]) -> None:
    """A package registered as approved has no last change; a profile's name is no identity."""
    (problem,) = _problems(_described(LastModifiedBy=modified))
    assert "does not name its approver" in problem


def test_description_and_approver_agree_on_the_policy() -> None:
    """Otherwise a pause could be bypassed, or a person mistaken for the machine."""
    bound = bound_by(_described())
    person = _problems(_described(ApprovalDescription=f"{BY_POLICY}: hm [binding {bound}]"))
    machine = _problems(_described(LastModifiedBy=_by(RETRAIN)))

    assert [f"{ANN} approved it, but the description says '{BY_POLICY}'" in p for p in person] == [True]
    assert ["does not say so" in p for p in machine] == [True]


@pytest.mark.parametrize(("days", "refused"), [(7, False), (7.001, True), (30, True)])
def test_a_package_is_approved_in_time(days: float, refused: bool) -> None:
    """From registration to the last change, however long ago both are."""
    old = NOW - timedelta(days=400)
    described = _described(CreationTime=old, LastModifiedTime=old + timedelta(days=days))

    problems = _problems(described)

    assert bool(problems) == refused
    if refused:
        assert f"approved {days:.1f} days after it was registered, at most 7.0 days are allowed" in problems[0]
    assert timeout_problems(described, rule=ApprovalRule(), at=NOW) == []


def test_an_approval_without_a_time_counts_as_given_now() -> None:
    """A missing field never makes an old package look recent."""
    described = _described(CreationTime=NOW - timedelta(days=8))
    del described["LastModifiedTime"]
    assert "8.0 days after" in _problems(described)[0]


_CHANGES: dict[str, Any] = {
    **{name: {"CustomerMetadataProperties": {name: "d" * 64}} for name in (*BOUND, *ALSO_BOUND[:3])},
    "trust": {
        "CustomerMetadataProperties": {"flavor": "handler", "trust": "code"},
        "Environment": {"MLOPS_MODEL_SHA256": "b" * 64, "MLOPS_TRUST": "code"},
    },
    "image": {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "2" * 64},
    "artefact address": {"ModelDataUrl": "s3://elsewhere/model.tar.gz"},
    "environment": {"Environment": {"MLOPS_MODEL_SHA256": "b" * 64, "PYTHONPATH": "/opt/ml/model"}},
    "a further source": {"ModelDataSource": {"S3DataSource": {"S3Uri": "s3://elsewhere/"}}},
}


def _changed(description: dict[str, Any], change: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    container, metadata = (
        description["InferenceSpecification"]["Containers"][0],
        description["CustomerMetadataProperties"],
    )
    metadata |= change.get("CustomerMetadataProperties", {})
    container |= {name: value for name, value in change.items() if name != "CustomerMetadataProperties"}
    container["Environment"]["MLOPS_MODEL_SHA256"] = metadata["model_sha256"]
    return container, metadata


@pytest.mark.parametrize("change", _CHANGES.values(), ids=list(_CHANGES))
def test_what_changes_after_it_was_registered_is_refused(change: dict[str, Any]) -> None:
    """Digests, evaluation, baseline, training set, and each field of the container, which is named."""
    described = _described()
    container, metadata = _changed(described, change)

    with pytest.raises(PackageError) as refused:
        read_package(described)

    now, text = container_sha256(container, metadata), str(refused.value)
    assert f"its hash was {metadata['container_sha256']}, it is now {now}; register it again" in text
    for field in set(change) - {"CustomerMetadataProperties"}:
        assert f"{field} is now " in text


@pytest.mark.parametrize("change", _CHANGES.values(), ids=list(_CHANGES))
def test_a_changed_package_that_was_bound_anew_is_refused(change: dict[str, Any]) -> None:
    """The approver's hash is unchanged."""
    described = _described()
    container, metadata = _changed(described, change)
    described["CustomerMetadataProperties"] = registered_metadata(container, metadata)

    assert ["was approved, but it is" in p for p in _problems(described)] == [True]


@pytest.mark.parametrize("text", ["", "fine", "[binding abc]", "[binding " + "A" * 64 + "]"])
def test_an_approval_that_names_no_content_is_refused(text: str) -> None:
    """For example a manual one in the console; the fix names the command."""
    (problem,) = _problems(_described(ApprovalDescription=text))
    assert "has no hash of the approved content; approve it with: mlops models approve" in problem


def test_a_package_that_was_registered_without_its_hash_is_refused() -> None:
    """The error has the step to repeat."""
    described = _described()
    del described["CustomerMetadataProperties"]["container_sha256"]
    with pytest.raises(PackageError, match="container_sha256 is missing; register it"):
        read_package(described)


def test_what_sagemaker_adds_to_a_container_is_no_change() -> None:
    """The image's digest and the archive's tag."""
    described = _described()
    described["InferenceSpecification"]["Containers"][0] |= {"ImageDigest": "sha256:1", "ModelDataETag": "2"}
    assert _problems(described) == []


def test_who_changed_a_waiting_package_is_named() -> None:
    """Registration is no change; a decided package has an approver instead."""
    assert changed_while_pending(_described(ModelApprovalStatus="PendingManualApproval")) == ANN
    assert changed_while_pending(_described(ModelApprovalStatus="PendingManualApproval", LastModifiedBy={})) is None
    assert changed_while_pending(_described()) is None


def test_every_problem_is_named_at_once() -> None:
    """Identity, time and content."""
    described = _described(
        LastModifiedBy=_by(RETRAIN.replace("Retrain", "Train")),
        CreationTime=NOW - timedelta(days=9),
        ApprovalDescription="ok",
    )
    assert len(_problems(described)) == 3


@pytest.mark.parametrize("approval", ["PendingManualApproval", "Rejected"])
def test_what_is_not_approved_has_one_problem(approval: str) -> None:
    """The last change does not matter then."""
    (problem,) = _problems(_described(ModelApprovalStatus=approval, LastModifiedBy={}))
    assert problem == f"it is {approval} (Completed); approve it first"


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("  ", "not be empty"),
        ("x" * (MAXIMUM_REASON + 1), "at most 900 characters"),
        ("a\nb", "one line"),
        (f"{BY_POLICY}: x", "not begin with"),
        ("[binding " + "0" * 64 + "]", "not name a binding"),
    ],
)
def test_fails_on_a_reason_that_would_mislead(reason: str, message: str) -> None:
    """Nor may it exceed the field."""
    with pytest.raises(ValueError, match=f"reason must .*{message}"):
        approval_description(reason, bound="0" * 64)


@given(st.text(min_size=1, max_size=MAXIMUM_REASON))
def test_every_accepted_reason_fits_and_is_read_back(reason: str) -> None:
    """ApprovalDescription has at most 1,024 characters without line breaks."""
    bound = "ab" * 32
    try:
        text = approval_description(reason, bound=bound)
    except ValueError:
        return
    assert len(text) <= 1024
    assert text.isprintable()
    assert bound_by({"ApprovalDescription": text}) == bound
    assert not is_automatic({"ApprovalDescription": text})


@given(role=_NAMES, other=_NAMES, session=_NAMES, path=st.lists(_NAMES, max_size=3))
def test_a_session_has_exactly_its_role(role: str, other: str, session: str, path: list[str]) -> None:
    """With any path; a role with a common prefix is another."""
    arn = "arn:aws:iam::123456789012:role/" + "/".join([*path, role])
    identity = f"arn:aws:sts::123456789012:assumed-role/{other}/{session}"
    assert has_role(identity, (arn,)) == (role == other)
    assert has_role(arn, (arn,))


@given(st.dictionaries(st.sampled_from([*BOUND, *ALSO_BOUND]), st.text(max_size=5)), st.text(max_size=5))
def test_the_hash_depends_on_what_it_covers_and_nothing_else(values: dict[str, str], other: str) -> None:
    """Neither on order nor on other metadata."""
    container = {"Image": "i", "Environment": {"A": "1", "B": "2"}}
    hashed = container_sha256(container, values)
    assert hashed == container_sha256(dict(reversed(container.items())), dict(reversed(values.items())))
    assert hashed == container_sha256(container, {**values, "execution": other})
    for name in BOUND:
        assert (container_sha256(container, {**values, name: other}) == hashed) == (values.get(name, "") == other)
    assert (container_sha256({**container, "Environment": {"A": other, "B": "2"}}, values) == hashed) == (other == "1")


def test_a_rule_comes_from_the_environment() -> None:
    """As the construct writes it."""
    assert ApprovalRule.from_environment({"APPROVAL": canonical_json(RULE).decode()}) == RULE
    with pytest.raises(ContractError):
        ApprovalRule.from_environment({"APPROVAL": '{"approvers": "everybody"}'})
    with pytest.raises(KeyError):
        ApprovalRule.from_environment({})


def test_an_endpoint_of_another_stack_has_the_owners_rule_and_its_own_locations() -> None:
    """Whatever locations the owner's endpoints read."""
    owners = replace(RULE, artifacts=("s3://artifacts/models/demand-forecast/",))
    entry = RegistryEntry(group="demand-forecast", unit="demand", rule=owners)
    own = "s3://artifacts/models/demand-regional/"
    read = ApprovalRule.from_environment({"REGISTRY": canonical_json(entry).decode(), "MODELS": json.dumps([own])})
    assert read == replace(RULE, artifacts=(own,))
    with pytest.raises(KeyError, match="MODELS"):
        ApprovalRule.from_environment({"REGISTRY": canonical_json(entry).decode()})


def test_an_entry_is_read_back() -> None:
    """As the construct writes it."""
    rule = ApprovalRule(approvers=("arn:aws:iam::123456789012:role/A",), timeout_seconds=3600)
    entry = RegistryEntry(group="demand-forecast", unit="demand", rule=rule)

    assert from_json(RegistryEntry, canonical_json(entry)) == entry
    assert is_registry_parameter(registry_parameter(unit="demand", group="demand-forecast"))


@pytest.mark.parametrize(
    "name", ["/mlops/demand/unit", "/mlops/demand/pipeline/registry", "/mlops//registry/x", "mlops/a/registry/b", ""]
)
def test_other_parameters_are_none_of_ours(name: str) -> None:
    """Units, endpoints, pipelines, and what is no entry."""
    assert not is_registry_parameter(name)


def _described_for_people(**changes: Any) -> dict[str, Any]:
    return (
        package_request(SPEC)
        | {
            "ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7",
            "ModelPackageStatus": "Completed",
            "CreationTime": NOW - timedelta(days=1),
            "LastModifiedTime": NOW - timedelta(days=1),
        }
        | changes
    )


def _after(description: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    return (
        description | request | {"LastModifiedTime": NOW, "LastModifiedBy": {"IamIdentity": {"Arn": ANN_AS_APPROVER}}}
    )


def test_a_waiting_package_may_be_approved() -> None:
    """With its version as the command names it."""
    found = review(_described_for_people(), rule=RULE_OF_PEOPLE, now=NOW)

    assert (found.version, found.approval, found.problems) == ("demand-forecast/7", "PendingManualApproval", ())
    assert (found.image, found.artifact_uri) == (SPEC.image, SPEC.artifact_uri)
    assert found.binding == found.metadata["container_sha256"]
    assert not is_settled(_described_for_people(), rule=RULE_OF_PEOPLE, now=NOW)


def test_what_is_approved_so_is_deployed() -> None:
    """Preflight accepts it from an approver."""
    (request,) = approval_requests(_described_for_people(), reason="better")
    approved = _after(_described_for_people(), request)

    assert check_request("sagemaker", "UpdateModelPackage", request) == []
    assert approval_problems(approved, read_package(approved), rule=RULE_OF_PEOPLE, now=NOW) == []
    assert is_settled(approved, rule=RULE_OF_PEOPLE, now=NOW)
    assert review(approved, rule=RULE_OF_PEOPLE, now=NOW).changed_by == ANN_AS_APPROVER


def test_an_approval_that_does_not_count_is_given_anew_as_a_change() -> None:
    """A rollout reacts only to changes of the approval."""
    (first,) = approval_requests(_described_for_people(), reason="better")
    by_nobody = _described_for_people() | first | {"LastModifiedBy": {}}

    requests = approval_requests(by_nobody, reason="in the right role")

    assert not is_settled(by_nobody, rule=RULE_OF_PEOPLE, now=NOW)
    assert "does not name its approver" in review(by_nobody, rule=RULE_OF_PEOPLE, now=NOW).problems[0]
    assert [r["ModelApprovalStatus"] for r in requests] == ["Rejected", "Approved"]
    assert bound_by(requests[-1]) == _described_for_people()["CustomerMetadataProperties"]["container_sha256"]


def test_every_reason_against_an_approval_is_named() -> None:
    """An image by tag, a changed training set, an expired approval time, an incomplete package."""
    described = _described_for_people(CreationTime=NOW - timedelta(days=8), ModelPackageStatus="Failed")
    described["CustomerMetadataProperties"]["training_set_id"] = "d" * 64
    described["InferenceSpecification"]["Containers"][0]["Image"] = "repository:latest"

    problems = unapprovable(described, rule=RULE_OF_PEOPLE, now=NOW)

    assert [p.split(",")[0][:40] for p in problems] == [
        "Image must be named by digest",
        "it was changed after it was registered: ",
        "ModelPackageStatus must be Completed",
        "approved 8.0 days after it was registere",
    ]
    assert review(described, rule=RULE_OF_PEOPLE, now=NOW).problems == tuple(problems)


def test_without_a_rule_neither_person_nor_time_is_judged() -> None:
    """For a group without a published rule."""
    old = _described_for_people(CreationTime=NOW - timedelta(days=100), ModelApprovalStatus="Approved")

    assert unapprovable(old, rule=None, now=NOW) == []
    assert is_settled(old, rule=None, now=NOW)


def test_an_approved_package_that_cannot_be_read_is_no_surprise() -> None:
    """The reasons are the package's."""
    described = _described_for_people(ModelApprovalStatus="Approved")
    described["InferenceSpecification"]["Containers"] *= 2

    assert review(described, rule=RULE_OF_PEOPLE, now=NOW).problems == ("must have 1 container, got 2",)


def test_a_rejection_keeps_why() -> None:
    """Without a binding, because nothing is deployed."""
    request = rejection_request(_described_for_people(), reason="store 7 got worse")

    assert check_request("sagemaker", "UpdateModelPackage", request) == []
    assert (request["ModelApprovalStatus"], request["ApprovalDescription"]) == ("Rejected", "store 7 got worse")
    with pytest.raises(ValueError, match="reason must not be empty"):
        rejection_request(_described_for_people(), reason=" ")


def test_a_package_that_was_changed_while_it_waited_is_not_approved() -> None:
    """The person is named, also if the hash in the metadata was rewritten."""
    changed = _described_for_people(LastModifiedBy={"IamIdentity": {"Arn": ANN_AS_APPROVER}})

    (problem,) = unapprovable(changed, rule=RULE_OF_PEOPLE, now=NOW)

    assert problem.startswith(f"{ANN_AS_APPROVER} changed it at 2026-11-23 12:00:00+00:00, after it was registered")
    assert unapprovable(changed | {"ModelApprovalStatus": "Rejected"}, rule=RULE_OF_PEOPLE, now=NOW) == []


def test_what_was_changed_after_it_was_registered_gets_no_approval() -> None:
    """No request would bind the change."""
    described = _described_for_people()
    described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] = "s3://elsewhere/model.tar.gz"
    with pytest.raises(PackageError, match=r"ModelDataUrl is now 's3://elsewhere/model\.tar\.gz'"):
        approval_requests(described, reason="better")


def test_a_pickle_counts_only_where_the_registry_allows_it() -> None:
    """The approval names the effects of loading; by default a registry rejects pickles, with the fix."""
    described = _described(**package_request(replace(SPEC, flavor="pickle", trust="pickle"), approval="Approved"))
    approval = approval_requests(described, reason="it wins")[-1]
    assert approval["ApprovalDescription"].startswith("it wins [trust pickle] [binding ")
    described["ApprovalDescription"] = approval["ApprovalDescription"]
    (problem,) = _problems(described)
    assert problem.startswith("the model is loaded by pickle with trust 'pickle', the registry allows data, code; ")
    assert problem.endswith("ModelRegistry(trust=('data', 'code', 'pickle')) and deploy the stack")
    assert unapprovable(described, rule=RULE, now=NOW) == [problem]
    assert _problems(described, replace(RULE, trust=("data", "code", "pickle"))) == []


def test_a_registry_may_allow_less() -> None:
    """Only data formats such as ONNX, which need no declaration."""
    strict = replace(RULE, trust=("data",))
    described = _described(**package_request(replace(SPEC, flavor="handler", trust="code"), approval="Approved"))
    described["ApprovalDescription"] = approval_requests(described, reason="fine")[-1]["ApprovalDescription"]
    assert "the registry allows data; register" in _problems(described, strict)[0]
    assert _problems(_described(), strict) == []


def test_a_reason_cannot_claim_another_trust() -> None:
    """It is appended like the binding."""
    with pytest.raises(ValueError, match="not name a binding or a trust"):
        approval_requests(_described(), reason="[trust data]")
