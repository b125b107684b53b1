"""Static files of the console by path, with their response headers.

The files in ``pages/`` are served without a build step. Only ``index.html`` has a fixed path; all other files are in a folder named
by their common hash, so that browsers can cache them forever and never mix two versions.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGES = Path(__file__).with_name("pages")
INDEX = "/"
CONFIG = "/config.json"  # specific to each console: how users sign in


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
