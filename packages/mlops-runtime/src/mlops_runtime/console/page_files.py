"""Static files of the console by path, with their response headers, and their publication for a hosted console.

The files in ``pages/`` are served without a build step. Only ``index.html`` has a fixed path; all other files are in a folder named
by their common hash, so that browsers can cache them forever and never mix two versions. A function writes those of a hosted
console from one bundled document to a distribution's bucket.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGES = Path(__file__).with_name("pages")
INDEX = "/"
CONFIG = "/config.json"  # specific to each console: how users sign in
FILES = "pages.json"
CONFIG_KEY = "config.json"
_INDEX_KEY = "index.html"


def content_policy(*, connects_to: str = "") -> str:
    """Return the pages' content security policy: scripts and styles only from our own files, and no markup from strings.

    See: https://www.w3.org/TR/CSP3/ https://www.w3.org/TR/trusted-types/

    Args:
        connects_to: Origin of the sign-in service that the pages call. Default: none.

    Example:
        >>> "connect-src 'self' https://sign-in.example;" in content_policy(connects_to="https://sign-in.example")
        True
    """
    called = f" {connects_to}" if connects_to else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"connect-src 'self'{called}",
            "img-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": content_policy(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOLDER = "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_NEVER = "no-store"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A served file: ``content_type`` and ``cache_control`` are its headers in addition to ``HEADERS``."""

    content: bytes
    content_type: str
    cache_control: str


def page_files() -> dict[str, PageFile]:
    """Return the files of the console by URL path.

    Example:
        >>> files = page_files()
        >>> files["/"].content_type, files["/"].cache_control
        ('text/html; charset=utf-8', 'no-store')
    """
    found = {
        path.relative_to(PAGES).as_posix(): path.read_bytes()
        for path in sorted(PAGES.rglob("*"))
        if path.suffix in _TYPES
    }
    index = found.pop("index.html")
    digest = hashlib.sha256()
    for name, content in found.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    folder = f"{_FOLDER}/{digest.hexdigest()[:16]}"
    made = {f"/{folder}/{name}": _file(name, content, _FOR_EVER) for name, content in found.items()}
    return {INDEX: _file("index.html", index.replace(b'"static/', f'"/{folder}/'.encode()), _NEVER), **made}


def _file(name: str, content: bytes, cache_control: str) -> PageFile:
    return PageFile(content=content, content_type=_TYPES[Path(name).suffix], cache_control=cache_control)


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
    """

    s3: Any  # S3 client
    bucket: str
    document: str  # `PageDocument.text`

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
        content = json.dumps(json.loads(config), sort_keys=True).encode()
        self._put(CONFIG_KEY, content, "application/json", index["cache_control"])
        self._put(_INDEX_KEY, base64.b64decode(index["content"]), index["content_type"], index["cache_control"])

    def _put(self, key: str, content: bytes, content_type: str, cache_control: str) -> None:
        self.s3.put_object(
            Bucket=self.bucket, Key=key, Body=content, ContentType=content_type, CacheControl=cache_control
        )
