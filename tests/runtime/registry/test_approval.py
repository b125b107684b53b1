"""Whether an approval counts."""

import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import ContractError, canonical_json
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.registry.approval import (
    BY_POLICY,
    MAXIMUM_REASON,
    ApprovalRule,
    approval_description,
    approval_problems,
    bound_by,
    has_role,
    is_automatic,
    timeout_problems,
)
from mlops_runtime.registry.package import ALSO_BOUND, BOUND, binding, package_request, read_package

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
APPROVER = "arn:aws:iam::123456789012:role/people/Approver"
MACHINE = "arn:aws:iam::123456789012:role/Retrain"
RULE = ApprovalRule(approvers=(APPROVER,), machines=(MACHINE,), timeout_seconds=7 * 86400)
ANN = "arn:aws:sts::123456789012:assumed-role/Approver/ann@example.com"
RETRAIN = "arn:aws:sts::123456789012:assumed-role/Retrain/abc"
SPEC = ModelPackageSpec(
    group="demand-forecast",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
    artifact_uri="s3://artifacts/model.tar.gz",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    execution="arn:aws:states:us-east-1:123456789012:execution:Retrain:one",
    baseline_uri="s3://artifacts/baseline.json",
    evaluation_uri="s3://artifacts/evaluation.json",
)
_NAMES = st.text(string.ascii_letters + string.digits + "_+=,.@-", min_size=1, max_size=20)


def _described(**changes: Any) -> dict[str, Any]:
    request = package_request(SPEC, approval="Approved")
    bound = binding(request["CustomerMetadataProperties"])
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
    """Nothing is wrong, and a person did it."""
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
    """Below one of the locations; a rule without any does not judge it."""
    rule = ApprovalRule(approvers=(APPROVER,), artifacts=artifacts)
    expected = (
        "the artefact must lie below s3://artifacts/models/a/ or s3://artifacts/models/b/, as the endpoint's role may read nothing "
        "else, got 's3://artifacts/model.tar.gz'; copy it there and register the package again"
    )

    assert _problems(_described(), rule) == ([expected] if is_refused else [])


def test_the_machine_approves_by_policy() -> None:
    """Its description says so, and begins as no person's may."""
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
    """A package that is born approved has no last change; a profile's name is no identity."""
    (problem,) = _problems(_described(LastModifiedBy=modified))
    assert "does not say who approved it" in problem


def test_description_and_approver_agree_on_the_policy() -> None:
    """Otherwise a pause would be gone around, or a person would be taken for the machine."""
    bound = bound_by(_described())
    person = _problems(_described(ApprovalDescription=f"{BY_POLICY}: hm [binding {bound}]"))
    machine = _problems(_described(LastModifiedBy=_by(RETRAIN)))

    assert [f"{ANN} approved it, but its description says '{BY_POLICY}'" in p for p in person] == [True]
    assert ["does not say so" in p for p in machine] == [True]


@pytest.mark.parametrize(("days", "refused"), [(7, False), (7.001, True), (30, True)])
def test_a_package_is_approved_in_time(days: float, refused: bool) -> None:
    """Counted from registration to the last change, however long ago both are."""
    old = NOW - timedelta(days=400)
    described = _described(CreationTime=old, LastModifiedTime=old + timedelta(days=days))

    problems = _problems(described)

    assert bool(problems) == refused
    if refused:
        assert f"approved {days:.1f} days after it was registered, at most 7.0 days are allowed" in problems[0]
    assert timeout_problems(described, rule=ApprovalRule(), at=NOW) == []


def test_an_approval_without_a_time_counts_as_given_now() -> None:
    """So that a missing field never makes an old package young."""
    described = _described(CreationTime=NOW - timedelta(days=8))
    del described["LastModifiedTime"]
    assert "8.0 days after" in _problems(described)[0]


@pytest.mark.parametrize("name", [*BOUND, *ALSO_BOUND])
def test_what_changes_after_the_approval_is_refused(name: str) -> None:
    """Each of artefact, model, training set, evaluation and baseline; both hashes are named."""
    described = _described()
    described["CustomerMetadataProperties"] |= {name: "d" * 64}
    described["InferenceSpecification"]["Containers"][0]["Environment"]["MLOPS_MODEL_SHA256"] = described[
        "CustomerMetadataProperties"
    ]["model_sha256"]

    registered, approved = _problems(described)

    now = binding(described["CustomerMetadataProperties"])
    assert f"they hash to {now}, registered is {bound_by(_described())}" in registered
    assert approved == f"{bound_by(_described())} was approved, but it is {now} now; look at it and approve it again"


def test_a_changed_package_whose_binding_was_changed_too_is_refused() -> None:
    """The approver's own hash stays what it was."""
    described = _described()
    metadata = described["CustomerMetadataProperties"]
    metadata["training_set_id"] = "d" * 64
    metadata["binding"] = binding(metadata)

    assert ["was approved, but it is" in p for p in _problems(described)] == [True]


@pytest.mark.parametrize("text", ["", "fine", "[binding abc]", "[binding " + "A" * 64 + "]"])
def test_an_approval_that_names_no_content_is_refused(text: str) -> None:
    """Such as one by hand in the console; the fix names the command."""
    (problem,) = _problems(_described(ApprovalDescription=text))
    assert "not bound to what was approved; approve it with: mlops models approve" in problem


def test_a_package_that_was_registered_without_a_binding_is_refused() -> None:
    """It says where to begin again."""
    described = _described()
    del described["CustomerMetadataProperties"]["binding"]
    (problem,) = _problems(described)
    assert problem.endswith("registered is none; register s3://artifacts/model.tar.gz again")


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
    """Who last changed it does not matter then."""
    (problem,) = _problems(_described(ModelApprovalStatus=approval, LastModifiedBy={}))
    assert problem == f"it is {approval} (Completed); approve it first"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("  ", "not be empty"),
        ("x" * (MAXIMUM_REASON + 1), "at most 900 characters"),
        ("a\nb", "one line"),
        (f"{BY_POLICY}: x", "not begin with"),
        ("[binding " + "0" * 64 + "]", "not name a binding"),
    ],
)
def test_fails_on_a_reason_that_would_mislead(reason: str, said: str) -> None:
    """Nor may it be longer than the field."""
    with pytest.raises(ValueError, match=f"reason must .*{said}"):
        approval_description(reason, bound="0" * 64)


@given(st.text(min_size=1, max_size=MAXIMUM_REASON))
def test_every_accepted_reason_fits_and_is_read_back(reason: str) -> None:
    """ApprovalDescription has at most 1,024 characters, without line breaks."""
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
    """Whatever the path; a name that only begins alike is another role."""
    arn = "arn:aws:iam::123456789012:role/" + "/".join([*path, role])
    identity = f"arn:aws:sts::123456789012:assumed-role/{other}/{session}"
    assert has_role(identity, (arn,)) == (role == other)
    assert has_role(arn, (arn,))


@given(st.dictionaries(st.sampled_from([*BOUND, *ALSO_BOUND]), st.text(max_size=5)), st.text(max_size=5))
def test_binding_depends_on_what_it_covers_and_nothing_else(values: dict[str, str], other: str) -> None:
    """Not on order, nor on other metadata."""
    assert binding(values) == binding(dict(reversed(values.items()))) == binding({**values, "execution": other})
    for name in BOUND:
        assert (binding({**values, name: other}) == binding(values)) == (values.get(name, "") == other)


def test_a_rule_comes_from_the_environment() -> None:
    """As the construct writes it."""
    assert ApprovalRule.from_environment({"APPROVAL": canonical_json(RULE).decode()}) == RULE
    with pytest.raises(ContractError):
        ApprovalRule.from_environment({"APPROVAL": '{"approvers": "everybody"}'})
    with pytest.raises(KeyError):
        ApprovalRule.from_environment({})
