"""Custom domain names, such as ``models.example.com``, of distributions and REST APIs, with their certificates.

A name belongs to one resource. A wildcard name is stored, but does not route here.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ministack import app
from ministack.core.responses import get_account_id, get_region
from ministack.services import acm, cloudfront
from ministack.services import apigateway_v1 as v1
from ministack.services.cloudformation import provisioners

from mlops_local.egress.hosts import Kind, kind
from mlops_local.saved_state import kept_stores

_DISTRIBUTIONS_REGION = "us-east-1"
_watchers: list[Callable[[str], None]] = kept_stores.leave(
    __name__, "_watchers", [], why="functions of this process, registered again at its start"
)


class OwnNameError(ValueError):
    """AWS rejects a domain name of a template."""


def install() -> None:
    """Check certificates of custom names, and route names of distributions."""
    refusal, rendered = cloudfront._distribution_vpc_origin_error, provisioners._cf_distribution_config
    parse, create = app._parse_cloudfront_dataplane_host, v1._create_domain_name

    def config(props: Mapping[str, Any], reference: str) -> Any:
        found = rendered(props, reference)
        # claim: distributions-need-a-certificate-for-a-name
        if (problem := _alias_problem(found)) is not None:
            raise OwnNameError(f"{problem[0]}: {problem[1]}")
        return found

    def checked(data: Mapping[str, Any]) -> Any:
        problem = _domain_problem(data)
        # claim: apis-need-a-certificate-for-a-name
        if problem is not None:
            return v1._v1_error("BadRequestException", problem, 400)
        made = create(data)
        _announce(data["domainName"])
        return made

    def label(host: str) -> str | None:
        found = _distribution(host.partition(":")[0].lower())
        return parse(host) if found is None else str(found["DomainName"]).partition(".")[0].lower()

    cloudfront._distribution_vpc_origin_error = lambda config_el: (
        refusal(config_el) or _refused(_alias_problem(config_el))
    )
    provisioners._cf_distribution_config = config
    app._parse_cloudfront_dataplane_host = label
    v1._create_domain_name = checked
    handler = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::DomainName"]
    handler["update"] = partial(_updated, handler["update"])


def watch(watcher: Callable[[str], None]) -> None:
    """Call a function with each custom name, existing and future."""
    _watchers.append(watcher)
    for name in own_names():
        watcher(name)


def own_names() -> list[str]:
    """Return the custom names of distributions and APIs."""
    found = {name for each in cloudfront._distributions.values() for name in _served(each)}
    return sorted(found | {name.lower() for name, _ in _api_names()})


def names_of(distribution: Mapping[str, Any]) -> list[str]:
    """Return the custom names of a distribution, in lower case."""
    return sorted(_served(distribution))


def is_api(host: str) -> bool:
    """Return whether a ``Host``, optionally with port, is a custom name of a REST API."""
    name = host.partition(":")[0].lower()
    return any(name == each.lower() for each, _ in _api_names())


def is_own_name(name: str) -> bool:
    """Return whether a name, without port, is a custom name of a distribution or API."""
    return kind(name) is Kind.FOREIGN and (_distribution(name) is not None or is_api(name))


def _api_names() -> Iterator[tuple[str, Any]]:
    for (account, _region, name), record in v1._domain_names.all_items():
        if account == get_account_id():
            yield name, record


def _distribution(name: str) -> dict[str, Any] | None:
    """Return the distribution with a custom name."""
    for each in cloudfront._distributions.values():
        if name in each["config_xml"].lower() and name in _served(
            each
        ):  # a cheap check first: most names are not in it
            return dict(each)
    return None


def _served(distribution: Mapping[str, Any]) -> Iterator[str]:
    names = (name.lower() for name in cloudfront._get_distribution_aliases(distribution))
    return (name for name in names if kind(name) is Kind.FOREIGN and not name.startswith("*"))


def _announce(name: str) -> None:
    for watcher in _watchers:
        watcher(name.lower())


def _refused(problem: tuple[str, str, int] | None) -> Any:
    return None if problem is None else cloudfront._error(*problem)


def _alias_problem(config: Any) -> tuple[str, str, int] | None:
    """Return code, message and status of CloudFront's error for the aliases of a configuration, or ``None``."""
    text = cloudfront.tostring(config, encoding="unicode")
    names = [name.lower() for name in cloudfront._get_distribution_aliases({"config_xml": text})]
    if not names:
        return None
    viewer = cloudfront._find(config, "ViewerCertificate")
    arn = "" if viewer is None else str(cloudfront._text(viewer, "ACMCertificateArn") or "")
    # claim: distributions-need-a-certificate-for-a-name
    if not arn:
        return (
            "InvalidViewerCertificate",
            "To add an alternate domain name (CNAME) to a CloudFront distribution, you must attach a trusted certificate that "
            "validates your authorization to use the domain name.",
            400,
        )
    certified = _certified(arn)
    if certified is None or arn.split(":")[3:4] != [_DISTRIBUTIONS_REGION]:
        return (
            "InvalidViewerCertificate",
            "The specified SSL certificate doesn't exist, isn't in us-east-1 region, isn't valid, or doesn't include a valid "
            "certificate chain.",
            400,
        )
    if not all(_covers(certified, name) for name in names):
        return (
            "InvalidViewerCertificate",
            "The certificate that is attached to your distribution doesn't cover the alternate domain name (CNAME) that you're "
            "trying to add.",
            400,
        )
    reference = cloudfront._text(config, "CallerReference")
    taken = {
        name.lower()
        for each in cloudfront._distributions.values()
        if each["CallerReference"] != reference
        for name in cloudfront._get_distribution_aliases(each)
    }
    if taken & set(names):
        return (
            "CNAMEAlreadyExists",
            "One or more of the CNAMEs you provided are already associated with a different resource.",
            409,
        )
    for name in names:
        if not name.startswith("*"):
            _announce(name)
    return None


def _domain_problem(data: Mapping[str, Any]) -> str | None:
    """Return API Gateway's error message for a domain name, or ``None``."""
    name, types = str(data.get("domainName", "")).lower(), (data.get("endpointConfiguration") or {}).get("types") or []
    is_edge = "EDGE" in types
    region = _DISTRIBUTIONS_REGION if is_edge else get_region()
    # claim: apis-need-a-certificate-for-a-name
    if any(name == each.lower() for each, _ in _api_names()):
        return "The domain name you provided already exists."
    if not is_edge and data.get("certificateArn"):
        return "Cannot import certificates for EDGE while REGIONAL is active."
    arn = str(data.get("certificateArn" if is_edge else "regionalCertificateArn") or "")
    if arn.split(":")[3:4] != [region]:
        return f"Invalid certificate ARN: {arn}. Certificate must be in '{region}'."
    certified = _certified(arn)
    if certified is None:
        return "The certificate provided must be owned by the account creating the domain."
    if not _covers(certified, name):
        return f"The provided certificate does not cover the domain name {name}."
    return None


def _certified(arn: str) -> list[str] | None:
    """Return the names, in lower case, of an issued certificate of this account."""
    for (account, _region, known), record in acm._certificates.all_items():
        if account == get_account_id() and known == arn and record.get("Status") == "ISSUED":
            return [str(name).lower() for name in (record["DomainName"], *record.get("SubjectAlternativeNames", ()))]
    return None


def _covers(certified: list[str], name: str) -> bool:
    """Return whether a certificate covers a name; a wildcard stands for one label.

    Example:
        >>> [_covers(["*.example.com"], name) for name in ("a.example.com", "a.b.example.com", "example.com")]
        [True, False, False]
    """
    return name in certified or f"*.{name.partition('.')[2]}" in certified


def _updated(update: Callable[..., Any], physical_id: str, old: Any, new: Any, stack: str) -> Any:
    """Support updates of an existing domain name: MiniStack creates it again under the same name."""
    if new.get("DomainName") != physical_id:
        return update(physical_id, old, new, stack)
    before = v1._domain_names.pop(physical_id, None)
    try:
        return update(physical_id, old, new, stack)
    except Exception:
        if before is not None:
            v1._domain_names[physical_id] = before
        raise
