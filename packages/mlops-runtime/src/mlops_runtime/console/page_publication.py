"""Publication of a hosted console's pages: a function writes them from one bundled document to a distribution's bucket."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.console.page_files import INDEX, page_files

FILES = "pages.json"
CONFIG = "config.json"
_INDEX_KEY = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDocument:
    """All files of the pages as one JSON string, and its hash."""

    text: str
    sha256: str


def page_document() -> PageDocument:
    """Return the pages as one document: for each object key, the content in Base64 and the headers.

    Example:
        >>> sorted(json.loads(page_document().text)["index.html"])
        ['cache_control', 'content', 'content_type']
    """
    found = {
        _INDEX_KEY if address == INDEX else address.removeprefix("/"): {
            "content": base64.b64encode(file.content).decode(),
            "content_type": file.content_type,
            "cache_control": file.cache_control,
        }
        for address, file in page_files().items()
    }
    text = json.dumps(found, sort_keys=True)
    return PageDocument(text=text, sha256=hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePublication:
    """Writes pages and their configuration to a bucket.

    Files of earlier releases are kept for browsers that have an earlier index open.

    Args:
        s3: S3 client.
        bucket: Name of the bucket.
        document: ``PageDocument.text``.
    """

    s3: Any
    bucket: str
    document: str

    def handle(self, event: Mapping[str, Any], answer: Callable[..., None]) -> None:
        """Handle a CloudFormation request and send the response; ``Delete`` does nothing.

        Args:
            event: The request; its property ``Config`` is the content of ``/config.json``.
            answer: ``lambda_protocol.answer``.
        """
        failure = None
        try:
            if event["RequestType"] != "Delete":
                self._publish(str(event["ResourceProperties"]["Config"]))
        except Exception as error:  # CloudFormation needs a response in every case
            failure = f"{type(error).__name__}: {error}"
        answer(event, physical_id=f"{self.bucket}/{_INDEX_KEY}", failure=failure)

    def _publish(self, config: str) -> None:
        """Write all files, the index last, so that browsers get the complete previous release until then."""
        files = json.loads(self.document)
        index = files.pop(_INDEX_KEY)
        for key, file in files.items():
            self._put(key, base64.b64decode(file["content"]), file["content_type"], file["cache_control"])
        said = json.dumps(json.loads(config), sort_keys=True).encode()
        self._put(CONFIG, said, "application/json", index["cache_control"])
        self._put(_INDEX_KEY, base64.b64decode(index["content"]), index["content_type"], index["cache_control"])

    def _put(self, key: str, content: bytes, content_type: str, cache_control: str) -> None:
        self.s3.put_object(
            Bucket=self.bucket, Key=key, Body=content, ContentType=content_type, CacheControl=cache_control
        )
