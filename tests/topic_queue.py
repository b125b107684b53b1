"""An SQS queue that receives a topic's messages, as a mailbox would."""

import json
from typing import Any


def subscribe_queue(sqs: Any, sns: Any, topic: str, name: str, **attributes: str) -> str:
    """Create a queue that the topic may send to, subscribe it, and return its URL.

    Args:
        sqs: Client of the topic's account and Region.
        sns: Client of the topic's account and Region.
        topic: ARN of the topic.
        name: Name of the queue.
        attributes: Attributes of the subscription, such as ``RawMessageDelivery``.
    """
    url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=attributes)
    return url
