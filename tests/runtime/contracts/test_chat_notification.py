"""The chat notification, compared with the sample in AWS's documentation."""

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.contracts.chat_notification import ChatNotification, NotificationContent

# https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
SAMPLE = {
    "version": "1.0",
    "source": "custom",
    "id": "c-weihfjdsf",
    "content": {
        "textType": "client-markdown",
        "title": ":warning: Banana Order processing is down!",
        "description": "Banana Order processor application is no longer processing orders.",
        "nextSteps": ["Refer to the runbook", "Page Jane if the error persists over 30 minutes"],
        "keywords": ["BananaOrderIntake", "Critical", "SRE"],
    },
    "metadata": {
        "threadId": "OrderProcessing-1",
        "summary": "Order Processing Update",
        "eventType": "BananaOrderAppEvent",
        "relatedResources": ["i-04d231f25c18592ea"],
        "additionalContext": {"priority": "critical"},
    },
}


def test_the_sample_of_the_page_is_one() -> None:
    """With every documented field."""
    assert to_dict(from_dict(ChatNotification, SAMPLE)) == SAMPLE


def test_what_is_not_required_is_left_out() -> None:
    """Version, source and description are required."""
    found = to_dict(ChatNotification(content=NotificationContent(description="prices moved")))
    assert found == {
        "version": "1.0",
        "source": "custom",
        "content": {"textType": "client-markdown", "description": "prices moved"},
    }
