"""Permissions to sign a unit's audit records and to publish their heads."""

import json
from typing import Any


def _listed(statement: dict[str, Any]) -> list[str]:
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


def _policy(demand: Any, name: str) -> dict[str, Any]:
    statements = demand.one("AWS::KMS::Key", name)["KeyPolicy"]["Statement"]
    return {statement["Sid"]: statement for statement in statements}


def _statements(demand: Any, action: str, place: str = "") -> dict[str, dict[str, Any]]:
    """Return the statements of role policies that allow an action on a resource, by the policy's logical id."""
    return {
        name: statement
        for name, policy in demand.resources("AWS::IAM::ManagedPolicy").items()
        if not name.startswith("UnitBoundary")
        for statement in policy["PolicyDocument"]["Statement"]
        if action in _listed(statement) and place in json.dumps(statement["Resource"])
    }


def test_keys_sign_and_do_nothing_else(demand: Any) -> None:
    """P-256 keys without rotation, which KMS does not support for them, and without grants, which would let others sign."""
    for name in ("UnitSigningKey", "UnitPauseKey"):
        key = demand.one("AWS::KMS::Key", name)
        assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
        assert "EnableKeyRotation" not in key
        actions = {
            a
            for s in _policy(demand, name).values()
            for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
        }
        assert {"kms:Sign", "kms:GetPublicKey", "kms:Verify"} <= actions
        assert not {a for a in actions if a.endswith("Grant") or "Rotat" in a or a in ("kms:Encrypt", "kms:Decrypt")}


def test_the_signing_key_denies_everybody_without_the_tag(demand: Any) -> None:
    """The key policy denies, whatever a policy of the account allows."""
    policy, tag = _policy(demand, "UnitSigningKey"), {"aws:PrincipalTag/mlops:recorder": "demand"}
    assert policy["RecordersSign"]["Condition"] == {"StringEquals": {**tag, "kms:SigningAlgorithm": "ECDSA_SHA_256"}}
    denied = policy["NobodyElseSigns"]
    assert (denied["Effect"], denied["Principal"], denied["Action"]) == ("Deny", {"AWS": "*"}, "kms:Sign")
    assert denied["Condition"] == {"StringNotEquals": tag}


def test_recorders_alone_sign_and_publish(demand: Any) -> None:
    """Only each endpoint's recorder and the serving-spec function, which records the deletion, sign and publish."""
    tagged = {
        name
        for name, role in demand.resources("AWS::IAM::Role").items()
        if {"Key": "mlops:recorder", "Value": "demand"} in role.get("Tags", [])
    }
    signing, publishing = _statements(demand, "kms:Sign"), set(_statements(demand, "s3:PutObject", "/heads/"))

    assert len(tagged) == 2
    assert all("Record" in name or "ServingSpec" in name for name in tagged)
    assert set(signing) == publishing
    assert len(signing) == 2
    for statement in signing.values():
        assert "SigningKey" in json.dumps(statement["Resource"])
        assert statement["Condition"] == {"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256"}}


def test_signatures_of_archives_are_written_once_by_the_recorder_alone(demand: Any) -> None:
    """Only the recorder writes signatures; the gate's function writes archives and no signature."""
    written = _statements(demand, "s3:PutObject", "/models/")
    ends = {name: json.dumps(s["Resource"]).rpartition("/")[2] for name, s in written.items()}
    assert sorted(ends.values()) == ['model.sig"]]}', 'model.tar.gz"]]}']
    for name, statement in written.items():
        assert ("Record" if "sig" in ends[name] else "Gate") in name
        assert statement["Condition"] == {"Null": {"s3:if-none-match": "false"}}


def test_the_boundary_denies_signatures_to_all_other_roles(demand: Any) -> None:
    """The boundary denies even if a policy gets such a statement."""
    statements = demand.one("AWS::IAM::ManagedPolicy", "UnitBoundary")["PolicyDocument"]["Statement"]
    (denied,) = [s for s in statements if s["Sid"] == "RecordersSign"]
    assert (denied["Effect"], denied["Action"]) == ("Deny", "kms:Sign")
    assert denied["Condition"] == {"StringNotEquals": {"aws:PrincipalTag/mlops:recorder": "demand"}}


def test_a_head_is_written_once(demand: Any) -> None:
    """The bucket accepts new objects only."""
    policies = [p for n, p in demand.resources("AWS::S3::BucketPolicy").items() if n.startswith("UnitHeads")]
    (statement,) = [s for p in policies for s in p["PolicyDocument"]["Statement"] if s.get("Sid") == "OnlyNewObjects"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:PutObject")
    assert statement["Condition"] == {"Null": {"s3:if-none-match": "true"}}
