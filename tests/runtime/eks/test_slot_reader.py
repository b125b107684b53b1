"""The listener rule and both slots, read at their sources."""

import json
from typing import Any

import pytest
from tests.runtime.eks.samples import EKS, SPEC, VERSION
from tests.runtime.eks.slots import rule

from mlops_runtime.eks import slot_reader
from mlops_runtime.eks.cluster_client import Address, Cluster
from mlops_runtime.eks.live_slots import ForeignRuleError
from mlops_runtime.eks.manifests import slot_manifests
from mlops_runtime.eks.slot_reader import SlotReader


class Elb:
    """A client with one rule."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        self.rules, self.requests = list(rules), []

    def describe_rules(self, **arguments: Any) -> dict[str, Any]:
        """DescribeRules."""
        self.requests.append(arguments)
        return {"Rules": self.rules}


def reader(elb: Any, fake: Any) -> SlotReader:
    """Return the reader of the samples' service."""
    return SlotReader(
        elbv2=elb,
        connect=lambda: Cluster(Address(url=fake.url), token=lambda: "t"),
        endpoint=SPEC.endpoint,
        namespace=EKS.namespace,
        rule=EKS.rule,
        target_groups=EKS.target_groups,
    )


def test_reads_weights_and_slots(fake: Any) -> None:
    """A slot without a Deployment has never run anything."""
    cluster = Cluster(Address(url=fake.url), token=lambda: "t")
    for manifest in slot_manifests(SPEC, "green", VERSION):
        cluster.apply(manifest)
    elb = Elb(rule({"blue": 1, "green": 9}))
    slots = reader(elb, fake).read()
    assert slots.weights == {"blue": 10, "green": 90}
    assert slots.states["green"].version == VERSION
    assert slots.states["blue"].version is None
    assert (slots.rule, slots.target_groups) == (EKS.rule, EKS.target_groups)
    assert elb.requests == [{"RuleArns": [EKS.rule]}]


def test_a_rule_that_is_gone_is_an_error(fake: Any) -> None:
    """Nothing is decided on an unreadable rule."""
    with pytest.raises(ForeignRuleError, match="does not exist"):
        reader(Elb(), fake).read()


def test_a_function_for_sagemaker_reads_no_slots() -> None:
    """It creates no session for it."""
    assert SlotReader.from_environment({"ENDPOINT": "e"}, pytest.fail) is None


def test_a_function_for_eks_is_told_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set by constructs; each read connects again with a valid token."""
    connected = []

    class Session:
        def client(self, service: str) -> str:
            return service

    session = Session()
    monkeypatch.setattr(slot_reader.Cluster, "connect", lambda *given: connected.append(given))
    environment = {
        "ENDPOINT": SPEC.endpoint,
        "TARGET": "EKS",
        "CLUSTER": EKS.cluster,
        "NAMESPACE": EKS.namespace,
        "RULE": EKS.rule,
        "TARGET_GROUPS": json.dumps(EKS.target_groups),
    }
    made = SlotReader.from_environment(environment, lambda: session)
    assert made is not None
    assert (made.elbv2, made.endpoint, made.namespace) == ("elbv2", SPEC.endpoint, EKS.namespace)
    assert (made.rule, made.target_groups) == (EKS.rule, EKS.target_groups)
    made.connect()
    made.connect()
    assert connected == [(session, EKS.cluster)] * 2
