"""Routing of a load balancer as data: listeners, ordered rules, weighted groups, and targets in rotation."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_local.egress.hosts import Kind, endpoint_domains, kind
from mlops_runtime import wildcards

# https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header; "none" is an address that the user typed
OWN_SITES = ("none", "same-origin")
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: patterns of path and host, and the action."""

    paths: tuple[str, ...] = ()  # path patterns; empty matches any path
    hosts: tuple[str, ...] = ()  # host patterns; empty matches any host
    groups: tuple[tuple[str, int], ...] = ()  # names of target groups with their weights
    # status, content type and body of a fixed response, instead of groups. Default: the rule forwards
    fixed: tuple[int, str, str] | None = None
    # regular expression of a path, and its replacement for targets. Default: the path is unchanged
    rewrite: tuple[str, str] | None = None

    def matches(self, host: str, path: str) -> bool:
        """Return whether a request matches this rule."""
        return (not self.paths or any(wildcards.matches(p, path) for p in self.paths)) and (
            not self.hosts or any(wildcards.matches(p.lower(), host.lower()) for p in self.hosts)
        )

    def rewritten(self, url: str) -> str:
        """Return the path and query that a target gets.

        Example:
            >>> Rule(rewrite=("^/live/(.*)$", "/$1")).rewritten("/live/ping"), Rule().rewritten("/live/ping")
            ('/ping', '/live/ping')
        """
        if self.rewrite is None:
            return url
        return re.sub(self.rewrite[0], backreferences(self.rewrite[1]), url, count=1)


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener: its port in the template, its rules with the default rule last, and the names of its certificates."""

    port: int
    rules: tuple[Rule, ...]
    certified: tuple[str, ...] = ()

    @property
    def names(self) -> str:
        """Allowed names, as a regular expression of ``Host`` in lower case: this machine's, AWS's, and the listener's own.

        Any other name was resolved to 127.0.0.1 by its owner, for example by a page that rebinds its own name.
        """
        return rf"({'|'.join((_known_names(), *map(expression, self._hosts)))})(:[0-9]+)?"

    @property
    def _hosts(self) -> tuple[str, ...]:
        return tuple(sorted({host.lower() for rule in self.rules for host in rule.hosts} | set(self.certified)))

    def is_foreign(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request comes from a page of another site or port, or names a foreign host; see ``origins``.

        Args:
            headers: Headers of the request with lower-case names. A request without ``Host`` is not a browser's.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        name = re.sub(r":[0-9]+$", "", host.lower())
        is_known = kind(name) in (Kind.LOOPBACK, Kind.ENDPOINT)
        if host and not is_known and not any(wildcards.matches(each, name) for each in self._hosts):
            return True
        return origin not in (None, f"http://{host}") or headers.get("sec-fetch-site", "none") not in OWN_SITES


@dataclass(frozen=True, slots=True)
class Routing:
    """The complete routing of one load balancer; ``targets`` are those in rotation, by group."""

    listeners: tuple[Listener, ...]
    targets: Mapping[str, tuple[Address, ...]]

    def structure(self) -> object:
        """Return everything that a running proxy cannot change: all but weights and targets."""
        return [
            (
                listener.port,
                listener.certified,
                [(r.paths, r.hosts, tuple(name for name, _ in r.groups), r.fixed, r.rewrite) for r in listener.rules],
            )
            for listener in self.listeners
        ]


@functools.cache
def _known_names() -> str:
    domains = "|".join(re.escape(domain) for domain in sorted(endpoint_domains()))
    return rf"127\.0\.0\.1|\[::1\]|([a-z0-9-]+\.)*localhost|([a-z0-9-]+\.)+({domains})"


def expression(pattern: str) -> str:
    r"""Return a wildcard pattern as a regular expression: ``*`` is any string, ``?`` any character.

    Example:
        >>> expression("/a.b/*")
        '/a\\.b/.*'
    """
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


def backreferences(replacement: str) -> str:
    r"""Return the replacement of a rewrite with Python's group references.

    Example:
        >>> backreferences("/v2/$1")
        '/v2/\\1'
    """
    return re.sub(r"\$([0-9])", r"\\\1", replacement.replace("\\", r"\\"))


def rule(record: Mapping[str, Any], groups: Mapping[str, str]) -> Rule:
    """Return a rule from MiniStack's record, its actions with ``ForwardConfig``, and the name of each target group by ARN."""
    values = {row["Field"]: tuple(row.get("Values") or ()) for row in record.get("Conditions", [])}
    action = record["Actions"][-1]
    fixed = action.get("FixedResponseConfig")
    weighted = [
        (groups[g["TargetGroupArn"]], int(g["Weight"]))
        for g in action.get("Groups", [])
        if g["TargetGroupArn"] in groups
    ]
    # claim: rules-rewrite-what-targets-get
    rewrites = [each for given in record.get("Transforms") or () for each in given["UrlRewriteConfig"]["Rewrites"]]
    return Rule(
        paths=values.get("path-pattern", ()),
        hosts=values.get("host-header", ()),
        groups=tuple(weighted),
        fixed=None
        if fixed is None
        else (int(fixed["StatusCode"]), fixed.get("ContentType") or "text/plain", fixed.get("MessageBody") or ""),
        rewrite=(rewrites[0]["Regex"], rewrites[0]["Replace"]) if rewrites else None,
    )


def thresholds(weights: Sequence[int], top: int) -> list[int]:
    """Return the upper bound of each group's share of ``top`` random numbers; all 0 if every weight is 0.

    Example:
        >>> thresholds([90, 10], 1000)
        [900, 1000]
    """
    total, reached, found = sum(weights), 0, []
    for weight in weights:
        reached += weight
        found.append(top * reached // total if total else 0)
    return found


def listener_rules(rules: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return records of rules in evaluation order."""
    # claim: rules-are-tried-by-priority
    return sorted(
        rules, key=lambda r: (r["Priority"] == "default", 0 if r["Priority"] == "default" else int(r["Priority"]))
    )


def matcher(codes: str) -> frozenset[int]:
    """Return the status codes of a health check's matcher: ``200``, ``200,202`` or ``200-299``.

    Example:
        >>> sorted(matcher("200-201,204"))
        [200, 201, 204]
    """
    found: set[int] = set()
    for part in codes.split(","):
        first, _, last = part.strip().partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)
