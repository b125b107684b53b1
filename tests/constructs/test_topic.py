"""Topics that alarms and rules may tell."""

from typing import Any

from mlops_constructs import BusinessUnit


def test_the_units_topic_lets_the_accounts_alarms_tell_it(demand: Any):
    """A policy of its own replaces the default one, which would let them; no other account's alarms may."""
    policy = demand.one("AWS::SNS::TopicPolicy", "UnitTopic")["PolicyDocument"]
    (statement,) = (s for s in policy["Statement"] if s["Sid"] == "Alarms")
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    (join,) = statement["Condition"]["ArnLike"]["aws:SourceArn"].values()
    assert join[1][-1] == ":alarm:*"
    assert isinstance(demand.unit, BusinessUnit)
