"""Who approves."""

import aws_cdk as cdk
from aws_cdk import aws_sns as sns

from mlops_constructs import Approval


def test_automatic_asks_nobody() -> None:
    """The gate's verdict is enough."""
    assert Approval.automatic() == Approval(is_automatic=True, topic=None)


def test_manual_may_name_its_topic() -> None:
    """Without one, the unit's topic hears of it."""
    topic = sns.Topic(cdk.Stack(cdk.App(), "S"), "Topic")

    assert Approval.manual(topic=topic).topic is topic
    assert Approval.manual().topic is None
    assert not Approval.manual().is_automatic
