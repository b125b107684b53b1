"""Custom notification of Amazon Q Developer in chat applications, shown in Slack and Microsoft Teams.

Only ``version``, ``source`` and ``content.description`` are required. Other messages, including free text, are not shown.

See: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationContent:
    """Text of the notification, in the markdown of the chat application."""

    description: str
    title: str | None = None
    next_steps: tuple[str, ...] | None = field(default=None, metadata={"name": "nextSteps"})
    keywords: tuple[str, ...] | None = None
    text_type: Literal["client-markdown"] = field(default="client-markdown", metadata={"name": "textType"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationMetadata:
    """Context of the notification. Notifications with the same ``thread_id`` form one thread."""

    thread_id: str | None = field(default=None, metadata={"name": "threadId"})
    summary: str | None = None
    event_type: str | None = field(default=None, metadata={"name": "eventType"})
    related_resources: tuple[str, ...] | None = field(default=None, metadata={"name": "relatedResources"})
    additional_context: Mapping[str, str] | None = field(default=None, metadata={"name": "additionalContext"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatNotification:
    """The notification event; ``id`` identifies it."""

    content: NotificationContent
    metadata: NotificationMetadata | None = None
    id: str | None = None
    version: Literal["1.0"] = "1.0"
    source: Literal["custom"] = "custom"
