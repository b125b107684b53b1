"""The web ACL of a stage: rate, size, byte and address rules apply; managed rule groups are recorded without effect.

https://docs.aws.amazon.com/waf/latest/developerguide/web-acl.html
"""

import base64
import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from ministack.services import waf
from ministack.services.cloudformation import provisioners

from mlops_local import clock
from mlops_local.gateway.exchange import Exchange
from mlops_local.routes import ROUTES
from mlops_local.saved_state import kept_stores

Properties = dict[str, Any]
Statement = Mapping[str, Any]
_WINDOW = 300  # default seconds of a rate rule
_INSPECTED = 16  # KB of a body that API Gateway's ACLs inspect
_COMPARISONS = {
    "EQ": lambda a, b: a == b, "NE": lambda a, b: a != b, "LE": lambda a, b: a <= b,
    "LT": lambda a, b: a < b, "GE": lambda a, b: a >= b, "GT": lambda a, b: a > b,
}  # fmt: skip
# https://docs.aws.amazon.com/waf/latest/APIReference/API_ByteMatchStatement.html; CONTAINS_WORD is not implemented
_POSITIONS: dict[str, Callable[[bytes, bytes], bool]] = {
    "EXACTLY": lambda content, text: content == text,
    "STARTS_WITH": lambda content, text: content.startswith(text),
    "ENDS_WITH": lambda content, text: content.endswith(text),
    "CONTAINS": lambda content, text: text in content,
}
# call times by ACL, rule and caller
_CALLS: dict[tuple[str, str, str], deque[float]] = kept_stores.leave(
    __name__, "_CALLS", {}, why="calls of the last minutes"
)


class AssociationError(ValueError):
    """WAF rejects a web ACL association of a template."""


def install() -> None:
    """Create associations of templates, and store the body inspection limit of ACLs."""
    create, update = waf.create_web_acl_record, waf.update_web_acl_record

    def create_record(name: str, scope: str, given: Properties) -> Any:
        made = create(name, scope, given)
        made[2]["AssociationConfig"] = given.get("AssociationConfig") or {}
        return made

    def update_record(acl: Properties, given: Properties) -> Any:
        acl["AssociationConfig"] = given.get("AssociationConfig") or {}
        return update(acl, given)

    ROUTES["/_mlops/web-acls"] = lambda _method, _body: (200, {"undecided": undecided()})
    waf.create_web_acl_record, waf.update_web_acl_record = create_record, update_record
    handler = provisioners._RESOURCE_HANDLERS["AWS::WAFv2::WebACL"]
    made, changed = handler["create"], handler["update"]
    handler["create"] = lambda name, given, stack: made(name, _encoded(given), stack)
    handler["update"] = lambda name, old, new, *rest, **named: changed(name, old, _encoded(new), *rest, **named)
    provisioners._RESOURCE_HANDLERS["AWS::WAFv2::WebACLAssociation"] = {
        "create": _associate, "update": _associate_again, "delete": _dissociate,
    }  # fmt: skip


def blocks(exchange: Exchange) -> bool:
    """Return whether the web ACL of the stage blocks a request."""
    # claim: gateway-stages-have-web-acls
    acl = _acl(
        f"arn:aws:apigateway:{exchange.region}::/restapis/{exchange.api['id']}/stages/{exchange.stage['stageName']}"
    )
    if acl is None:
        return False
    for rule in sorted(acl["Rules"], key=lambda rule: int(rule.get("Priority", 0))):
        action = next(iter(rule.get("Action") or {}), "")
        if action in {"Allow", "Block"} and _matches(rule["Statement"], exchange, acl, str(rule["Name"])):
            break
    else:
        action = "Block" if "Block" in acl["DefaultAction"] else "Allow"
    exchange.context["wafResponseCode"] = f"WAF_{action.upper()}"
    return action == "Block"


def undecided() -> list[str]:
    """Return the rules of associated ACLs that are recorded without effect, with their statement."""
    found = []
    for _, arn in waf._associations.all_items():
        acl, _ = waf._resolve_local_web_acl(arn)
        for rule in (acl or {}).get("Rules", ()):
            found += [
                f"{acl['Name']}/{rule['Name']} ({kind})" for kind in _kinds(rule["Statement"]) if kind not in _DECIDED
            ]
    return sorted(set(found))


def _acl(resource: str) -> Properties | None:
    arn = waf._associations.get(resource)
    acl: Properties | None = waf._resolve_local_web_acl(arn)[0] if arn else None
    return acl


def _kinds(statement: Statement) -> Iterable[str]:
    for kind, given in statement.items():
        yield kind
        inner = [given.get("Statement"), given.get("ScopeDownStatement"), *(given.get("Statements") or ())]
        for each in filter(None, inner):
            yield from _kinds(each)


def _matches(statement: Statement, exchange: Exchange, acl: Properties, rule: str) -> bool | None:
    """Return whether a request matches; ``None`` for a statement that is not implemented."""
    kind, given = next(iter(statement.items()))
    decide: Callable[..., bool | None] | None = _DECIDED.get(kind)
    return None if decide is None else decide(given, exchange, acl, rule)


def _rate(given: Statement, exchange: Exchange, acl: Properties, rule: str) -> bool | None:
    # claim: rate-rules-count-a-window
    scope = given.get("ScopeDownStatement")
    if scope and not (matched := _matches(scope, exchange, acl, rule)):
        return matched
    now, window = clock.now(), int(given.get("EvaluationWindowSec") or _WINDOW)
    calls = _CALLS.setdefault((acl["ARN"], rule, _caller(given, exchange)), deque())
    while calls and calls[0] <= now - window:
        calls.popleft()
    calls.append(now)
    return len(calls) > int(given["Limit"])


def _caller(given: Statement, exchange: Exchange) -> str:
    """Return the key by which a rate rule aggregates requests."""
    kind = given.get("AggregateKeyType", "IP")
    if kind == "FORWARDED_IP":
        header = (given.get("ForwardedIPConfig") or {}).get("HeaderName", "X-Forwarded-For")
        return exchange.headers.get(header.lower(), "").partition(",")[0].strip()
    if kind == "CUSTOM_KEYS":
        names = [key["Header"]["Name"] for key in given.get("CustomKeys") or () if "Header" in key]
        return "\n".join(exchange.headers.get(name.lower(), "") for name in names)
    return "" if kind == "CONSTANT" else str(exchange.context["identity"]["sourceIp"])


def _size(given: Statement, exchange: Exchange, acl: Properties, _rule: str) -> bool:
    # claim: size-rules-read-the-inspected-part
    content, is_whole = _part(given["FieldToMatch"], exchange, acl)
    oversize = (given["FieldToMatch"].get("Body") or {}).get("OversizeHandling", "CONTINUE")
    if not is_whole and oversize != "CONTINUE":
        return bool(oversize == "MATCH")
    return bool(_COMPARISONS[given["ComparisonOperator"]](len(content), int(given["Size"])))


def _bytes(given: Statement, exchange: Exchange, acl: Properties, _rule: str) -> bool | None:
    # claim: byte-rules-match-a-part
    content, _ = _part(given["FieldToMatch"], exchange, acl)
    if any(each["Type"] == "LOWERCASE" for each in given["TextTransformations"]):
        content = content.lower()
    text = base64.b64decode(given["SearchString"])
    decide = _POSITIONS.get(given["PositionalConstraint"])
    return None if decide is None else decide(content, text)


def _encoded(node: Any) -> Any:
    """Return template properties in the API's form: search strings are plain text in templates."""
    if isinstance(node, list):
        return [_encoded(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    found = {name: _encoded(each) for name, each in node.items()}
    if "SearchStringBase64" in found:
        found["SearchString"] = found.pop("SearchStringBase64")
    elif "SearchString" in found:
        found["SearchString"] = base64.b64encode(str(found["SearchString"]).encode()).decode()
    return found


def _addresses(given: Statement, exchange: Exchange, _acl: Properties, _rule: str) -> bool:
    found = next(
        (each for _, each in waf._ip_sets.all_items() if each["ARN"] == given.get("ARN", given.get("Arn"))), None
    )
    address = ipaddress.ip_address(str(exchange.context["identity"]["sourceIp"]))
    return any(address in ipaddress.ip_network(block, strict=False) for block in (found or {}).get("Addresses", ()))


def _part(field: Statement, exchange: Exchange, acl: Properties) -> tuple[bytes, bool]:
    """Return the part of a request that a rule inspects, and whether it is complete."""
    kind, given = next(iter(field.items()))
    if kind == "SingleHeader":
        return exchange.headers.get(str(given["Name"]).lower(), "").encode(), True
    if kind == "Method":
        return exchange.method.encode(), True
    if kind == "UriPath":
        return str(exchange.context["path"]).encode(), True
    if kind == "QueryString":
        return urlencode(exchange.query, doseq=True).encode(), True
    config = ((acl.get("AssociationConfig") or {}).get("RequestBody") or {}).get("API_GATEWAY") or {}
    limit = int(str(config.get("DefaultSizeInspectionLimit") or f"KB_{_INSPECTED}").removeprefix("KB_")) * 1024
    return exchange.body[:limit], len(exchange.body) <= limit


def _not(given: Statement, exchange: Exchange, acl: Properties, rule: str) -> bool | None:
    found = _matches(given["Statement"], exchange, acl, rule)
    return None if found is None else not found


def _and(given: Statement, exchange: Exchange, acl: Properties, rule: str) -> bool | None:
    found = [_matches(each, exchange, acl, rule) for each in given["Statements"]]
    return False if False in found else None if None in found else True


def _or(given: Statement, exchange: Exchange, acl: Properties, rule: str) -> bool | None:
    found = [_matches(each, exchange, acl, rule) for each in given["Statements"]]
    return True if True in found else None if None in found else False


_DECIDED: dict[str, Any] = {
    "RateBasedStatement": _rate, "SizeConstraintStatement": _size, "ByteMatchStatement": _bytes,
    "IPSetReferenceStatement": _addresses,
    "NotStatement": _not, "AndStatement": _and, "OrStatement": _or,
}  # fmt: skip


def _associate(_logical_id: str, given: Properties, _stack: str) -> tuple[str, Properties]:
    # claim: web-acl-associations-are-resources
    answer = waf._associate_web_acl({"WebACLArn": given["WebACLArn"], "ResourceArn": given["ResourceArn"]})
    if answer[0] >= 400:
        raise AssociationError(f"AWS::WAFv2::WebACLAssociation: {answer[2].decode()}")
    return f"{given['ResourceArn']}|{given['WebACLArn']}", {}


def _associate_again(logical_id: str, old: Properties, new: Properties, stack: str) -> tuple[str, Properties]:
    if old["ResourceArn"] != new["ResourceArn"]:
        waf._disassociate_web_acl(old)
    return _associate(logical_id, new, stack)


def _dissociate(_physical_id: str, given: Properties) -> None:
    if waf._associations.get(given["ResourceArn"]) == given["WebACLArn"]:
        waf._disassociate_web_acl(given)
