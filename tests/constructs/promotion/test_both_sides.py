"""Templates of source and target: both sides allow each call of a promotion, by one statement each.

What decides is the evaluator of the embedded cloud, with the real boundaries of both units, and no cloud.
"""

from collections.abc import Callable, Iterator
from typing import Any

import aws_cdk as cdk
import pytest
from ministack.core import iam_evaluator

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    Environment,
    Images,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    PlatformDefaults,
)
from mlops_runtime.promotion.environment_link import LinkRole, inbox_arn, link_role_arn
from mlops_runtime.promotion.template_links import repository_statements

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
RECOVERY = Environment("recovery", account="333333333333", region="eu-central-1")
NEXT_DOOR = Environment("next-door", account="111111111111", region="eu-central-1")
ORGANIZATION = "o-a1b2c3d4e5"
RETAIL = PlatformDefaults(name="retail", organization_id=ORGANIZATION)
BUCKET, KEY = "arn:aws:s3:::build-artifacts", "arn:aws:kms:eu-west-1:111111111111:key/k"
PACKAGE = "arn:aws:sagemaker:eu-west-1:111111111111:model-package/demand-forecast/4"
VIA = {"kms:viaservice": "s3.eu-west-1.amazonaws.com", "kms:encryptioncontext:aws:s3:arn": BUCKET}
OURS, FOREIGN = {"events:source": "mlops.demand"}, {"events:source": "mlops.pricing"}
Call = tuple[str, str, dict[str, str]]
# by purpose of the calling role; the inbox is the target's
COPIED: list[Call] = [
    *(
        ("s3:GetObject", f"{BUCKET}/{folder}/demand-forecast/x/object", {})
        for folder in ("models", "evaluations", "gates", "releases")
    ),
    ("s3:GetObject", f"{BUCKET}/models/demand-weekly/x/model.tar.gz", {}),
    ("kms:Decrypt", KEY, VIA),
]
REPOSITORY = "arn:aws:ecr:eu-west-1:111111111111:repository/serving"
ENDPOINT = "arn:aws:iam::222222222222:role/Target-EndpointRole-generated"
# with shared images: finding an image, registering a package of it, and pulling it when an instance starts
FOUND: list[Call] = [("ecr:DescribeImages", REPOSITORY, {}), ("ecr:BatchGetImage", REPOSITORY, {})]
PULLED: list[Call] = [("ecr:BatchGetImage", REPOSITORY, {}), ("ecr:GetDownloadUrlForLayer", REPOSITORY, {})]
# allowed for any role of the target with permission in its account: the endpoint's role has a generated name
OF_ACCOUNT = {call[0] for call in PULLED}
PURPOSES: tuple[LinkRole, ...] = ("promote", "recheck")
DESCRIBED: Call = ("sagemaker:DescribeModelPackage", PACKAGE, {})
FORBIDDEN: list[Call] = [
    ("sagemaker:UpdateModelPackage", PACKAGE, {"sagemaker:modelapprovalstatus": "Approved"}),
    ("sagemaker:CreateModel", PACKAGE, {}),
    ("sagemaker:DescribeModelPackage", PACKAGE.replace("forecast", "returns"), {}),
    ("s3:GetObject", f"{BUCKET}/models/demand-returns/x/model.tar.gz", {}),
    ("s3:GetObject", f"{BUCKET}/releases/demand-weekly/x.json", {}),
    ("s3:GetObject", f"{BUCKET}/monitor/demand-forecast/counts.json", {}),
    ("s3:PutObject", f"{BUCKET}/models/demand-forecast/x/model.tar.gz", {}),
    ("s3:ListBucket", BUCKET, {}),
    ("kms:Decrypt", KEY, VIA | {"kms:viaservice": "secretsmanager.eu-west-1.amazonaws.com"}),
    ("kms:Decrypt", KEY, VIA | {"kms:viaservice": "s3.eu-central-1.amazonaws.com"}),
    ("kms:GenerateDataKey", KEY, VIA),
    ("kms:Encrypt", KEY, VIA),
    ("ecr:PutImage", REPOSITORY, {}),
    ("ecr:GetRepositoryPolicy", REPOSITORY, {}),
]
# calls that the role's own account must deny: in another account, of another unit, or with more permissions
OVERREACHING: dict[str, list[Call]] = {
    "promote": [
        (
            "s3:GetObject",
            "arn:aws:s3:::of-others/models/demand-forecast/x/model.tar.gz",
            {"aws:resourceaccount": "999999999999"},
        ),
        ("s3:GetObject", f"{BUCKET}/models/pricing-forecast/x/model.tar.gz", {}),
        ("s3:PutObject", f"{BUCKET}/models/demand-forecast/x/model.tar.gz", {}),
        ("kms:Decrypt", KEY, VIA | {"kms:viaservice": "secretsmanager.eu-west-1.amazonaws.com"}),
        ("kms:Decrypt", KEY.replace(BUILD.account, "999999999999"), VIA),
        ("kms:Encrypt", KEY, VIA),
        ("ecr:PutImage", REPOSITORY, {}),
        ("ecr:DescribeImages", REPOSITORY.replace(BUILD.account, "999999999999"), {}),
    ],
    "pull": [
        ("ecr:PutImage", REPOSITORY, {}),
        ("ecr:BatchGetImage", REPOSITORY.replace("serving", "other"), {}),
    ],
    "recheck": [
        ("sagemaker:UpdateModelPackage", PACKAGE, {}),
        ("sagemaker:DescribeModelPackage", PACKAGE.replace("forecast", "returns"), {}),
    ],
    "send": [
        ("events:PutEvents", "arn:aws:events:eu-west-1:999999999999:event-bus/mlops-demand-forecast", OURS),
        *(
            ("events:PutRule", inbox_arn(unit="demand", model="forecast", environment=each.linked), {})
            for each in (BUILD, STAGING, RECOVERY)
        ),
    ],
}


def _plain(value: Any, place: Environment) -> Any:
    """Replace references by names; references of the source are those in the calls."""
    if isinstance(value, list):
        return [_plain(each, place) for each in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Join" in value:
        return value["Fn::Join"][0].join(str(_plain(part, place)) for part in value["Fn::Join"][1])
    if "Fn::GetAtt" in value:
        name = str(value["Fn::GetAtt"][0])
        known = {"UnitArtifacts": BUCKET, "UnitKey": KEY} if place is BUILD else {}
        return next((arn for start, arn in known.items() if name.startswith(start)), f"arn:aws:other:::{name}")
    if "Ref" in value:
        return {"AWS::Partition": "aws", "AWS::AccountId": place.account}.get(value["Ref"], value["Ref"])
    return {name: _plain(each, place) for name, each in value.items()}


class Template:
    """Resources of one side."""

    def __init__(self, resources: dict[str, Any], place: Environment) -> None:
        self.resources, self.place = resources, place

    def properties(self, kind: str, name: str = "") -> dict[str, Any]:
        """Return the properties of the first resource of a type."""
        return next(dict(r["Properties"]) for n, r in self.resources.items() if r["Type"] == kind and name in n)

    def plain(self, document: Any) -> Any:
        """Return a policy without references."""
        return _plain(document, self.place)

    def granted(self, role_arn: str) -> list[dict[str, Any]]:
        """Return the statements of a role with a fixed name, or of the endpoint's role."""
        name = role_arn.rpartition("/")[2]
        (logical,) = (
            n
            for n, r in self.resources.items()
            if r["Type"] == "AWS::IAM::Role"
            and (r["Properties"].get("RoleName") == name or (role_arn == ENDPOINT and n.startswith("EndpointRole")))
        )
        policies = [r["Properties"] for r in self.resources.values() if r["Type"] == "AWS::IAM::ManagedPolicy"]
        found = [p["PolicyDocument"]["Statement"] for p in policies if {"Ref": logical} in p.get("Roles", [])]
        return [statement for statements in found for statement in self.plain(statements)]

    def boundary(self) -> Any:
        """Return the unit's boundary."""
        return self.plain(self.properties("AWS::IAM::ManagedPolicy", "Boundary")["PolicyDocument"])


class Sides:
    """Policies of both templates: permissions of roles, and policies of the other side's resources."""

    def __init__(self, target: Environment, defaults: PlatformDefaults | None, *, shares_images: bool = False) -> None:
        self.target, self.organization = target, None if defaults is None else defaults.organization_id
        self.inboxes = {
            place: inbox_arn(unit="demand", model="forecast", environment=place.linked) for place in (target, BUILD)
        }
        promote, recheck, send, back = (
            _role("promote", target),
            _role("recheck", target),
            _role("send", BUILD),
            _role("send", target),
        )
        # no function calls a source in another Region
        requested = [(recheck, DESCRIBED)] if target.region == BUILD.region else []
        reported = [
            (send, ("events:PutEvents", self.inboxes[target], OURS)),
            (back, ("events:PutEvents", self.inboxes[BUILD], OURS)),
        ]
        pulled = [*((promote, call) for call in FOUND), *((ENDPOINT, call) for call in PULLED)] if shares_images else []
        self.needed: list[tuple[str, Call]] = [*requested, *((promote, call) for call in COPIED), *reported, *pulled]
        app = cdk.App()
        for name, environment in (("Build", BUILD), ("Target", target)):
            stack = cdk.Stack(app, name, env=environment.cdk)
            unit = BusinessUnit(stack, "Unit", name="demand", defaults=defaults)
            if environment is BUILD:
                registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=[target])
                registry.register_from("demand-weekly")
                continue
            registry = ModelRegistry.from_environment(
                stack,
                "Registry",
                business_unit=unit,
                name="forecast",
                source=BUILD,
                images=Images.SHARED if shares_images else Images.OWN,
            )
            if shares_images:
                ModelEndpoint(
                    stack,
                    "Endpoint",
                    business_unit=unit,
                    registry=registry,
                    name="forecast",
                    image=ModelImage.from_ecr(repository_name="serving", digest="sha256:" + "1" * 64),
                    capacity=EndpointCapacity.instances("ml.m5.large", instance_count=1),
                )
        assembly = app.synth()
        artifacts = [assembly.get_stack_by_name(name) for name in ("Build", "Target")]
        self.dependencies = [d.id for each in artifacts for d in each.dependencies if "assets" not in d.id]
        build, taking = (
            Template(each.template["Resources"], place) for each, place in zip(artifacts, (BUILD, target), strict=True)
        )
        group = build.properties("AWS::SageMaker::ModelPackageGroup").get("ModelPackageGroupPolicy", {"Statement": []})
        inboxes = [side.plain(side.properties("AWS::Events::EventBusPolicy")["Statement"]) for side in (taking, build)]
        self.resource: dict[str, list[dict[str, Any]]] = {
            "sagemaker": build.plain(group["Statement"]),
            "s3": build.plain(build.properties("AWS::S3::BucketPolicy", "Artifacts")["PolicyDocument"]["Statement"]),
            "kms": build.plain(build.properties("AWS::KMS::Key", "UnitKey")["KeyPolicy"]["Statement"]),
            "events": inboxes,
            # the statements that the owner of an external repository adds
            "ecr": self._of_repository() if pulled else [],
        }
        sides = ((promote, taking), (recheck, taking), (send, build), (back, taking))
        self.identity = {role: side.granted(role) for role, side in sides}
        if pulled:
            self.identity[ENDPOINT] = taking.granted(ENDPOINT)
            sides += ((ENDPOINT, taking),)
        self.boundaries = {role: side.boundary() for role, side in sides}

    def _of_repository(self) -> list[dict[str, Any]]:
        target = self.target.linked
        needed = repository_statements(unit="demand", model="forecast", target=target, organization=self.organization)
        return list(needed)

    def granted(self, role: str, call: Call, statements: list[dict[str, Any]] | None = None) -> bool:
        """Return whether a role's own account allows a call."""
        kept = self.identity[role] if statements is None else statements
        if not kept:
            return False
        boundary = iam_evaluator.parse_policy_document(self.boundaries[role])
        return _allows(role, call, kept, [boundary])

    def admitted(self, role: str, call: Call, statements: list[dict[str, Any]] | None = None) -> bool:
        """Return whether the other side's resource policy allows it."""
        kept = self.resource[call[0].split(":")[0]] if statements is None else statements
        policy = {"Version": "2012-10-17", "Statement": kept}
        return bool(iam_evaluator.evaluate_resource_policy(policy, _context(role, call)).decision == "Allow")


def _allows(role: str, call: Call, statements: list[dict[str, Any]], *limits: list[Any]) -> bool:
    document = iam_evaluator.parse_policy_document({"Version": "2012-10-17", "Statement": statements})
    return bool(iam_evaluator.evaluate(_context(role, call), [document], *limits).decision == "Allow")


def _widened(statement: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a statement without each condition, and with each other element as wide as possible, by element name."""
    for operator, keys in statement.get("Condition", {}).items():
        for key in keys:
            rest = {name: value for name, value in keys.items() if name != key}
            conditions = {name: each for name, each in statement["Condition"].items() if name != operator}
            yield key, {**statement, "Condition": conditions | ({operator: rest} if rest else {})}
    yield "Action", {**statement, "Action": "*"}
    # policies of keys, buses and repositories apply to that resource only
    resource = statement.get("Resource", "*")
    if "Principal" not in statement or (resource != "*" and ":event-bus/" not in str(resource)):
        yield "Resource", {**statement, "Resource": "*"}


def _variations(role: str, call: Call) -> Iterator[tuple[str, Call]]:
    """Yield an allowed call in variations: another role, another organization, another service."""
    action, arn, keys = call
    yield f"{role.rpartition('/')[0]}/Admin", call
    other = {
        "aws:principalorgid": "o-another0000",
        "kms:viaservice": "secretsmanager.eu-west-1.amazonaws.com",
        "events:source": "mlops.pricing",
    }
    for key, value in other.items():
        if key in keys or key == "aws:principalorgid":
            yield role, (action, arn, keys | {key: value})


def _context(role: str, call: Call) -> Any:
    action, arn, keys = call
    return iam_evaluator.EvalContext(
        principal_arn=role,
        principal_type="AssumedRole",
        principal_account=role.split(":")[4],
        action=action,
        resource_arn=arn,
        region=arn.split(":")[3] or BUILD.region,
        service_context=keys,
    )


def _role(purpose: LinkRole, place: Environment) -> str:
    return link_role_arn(purpose, unit="demand", model="forecast", environment=place.linked)


@pytest.fixture(
    scope="module",
    params=[(STAGING, None, False), (RECOVERY, None, False), (STAGING, RETAIL, False), (STAGING, RETAIL, True)],
    ids=["same", "across", "retail", "images"],
)
def sides(request: pytest.FixtureRequest) -> Sides:
    """Both templates, synthesized once: target in the same or another Region, with an organization, and with shared images."""
    target, defaults, shares_images = request.param
    return Sides(target, defaults, shares_images=shares_images)


@pytest.fixture(autouse=True)
def _known_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the context that AWS knows: the session's role and the resource's owner."""
    resolve: Callable[..., Any] = iam_evaluator._resolve_condition_key

    def known(key: str, context: Any) -> Any:
        given = {
            "aws:resourceaccount": context.service_context.get("aws:resourceaccount", BUILD.account),
            "aws:principalarn": context.principal_arn,
            "aws:principalorgid": context.service_context.get("aws:principalorgid", ORGANIZATION),
        }
        return given.get(key.lower()) or resolve(key, context)

    monkeypatch.setattr(iam_evaluator, "_resolve_condition_key", known)
    iam_evaluator.pin_request_origin("127.0.0.1", secure_transport=True)


def test_every_call_of_a_promotion_is_allowed_by_both(sides: Sides) -> None:
    """Evaluated within the boundary of the role's unit."""
    answers = {(role, call[:2]): (sides.granted(role, call), sides.admitted(role, call)) for role, call in sides.needed}

    assert set(answers.values()) == {(True, True)}, answers


@pytest.mark.parametrize("call", FORBIDDEN, ids=lambda call: f"{call[0]} {call[1][-40:]}")
def test_everything_else_is_denied_by_the_source(sides: Sides, call: Call) -> None:
    """Whatever its own account grants to a role of the target."""
    assert [sides.admitted(_role(purpose, sides.target), call) for purpose in PURPOSES] == [False, False]


@pytest.mark.parametrize(("action", "keys"), [("events:PutEvents", FOREIGN), ("events:PutRule", {})])
def test_an_inbox_takes_the_units_events_alone(sides: Sides, action: str, keys: dict[str, str]) -> None:
    """Accepts events from the other side's sender role, in both directions."""
    for sender, receiver in ((BUILD, sides.target), (sides.target, BUILD)):
        assert not sides.admitted(_role("send", sender), (action, sides.inboxes[receiver], keys))


def test_an_inbox_takes_nothing_of_its_own_sender(sides: Sides) -> None:
    """Rejects its own sender and the target's promotion role."""
    for place in (sides.target, BUILD):
        call = ("events:PutEvents", sides.inboxes[place], OURS)
        assert not sides.admitted(_role("send", place), call)
        assert not sides.admitted(_role("promote", sides.target), call)


def test_another_role_or_account_is_denied(sides: Sides) -> None:
    """Statements name the account and restrict it to one role."""
    for role, call in sides.needed:
        assert sides.admitted(f"{role.rpartition('/')[0]}/Admin", call) is (call[0] in OF_ACCOUNT)
        assert not sides.admitted(f"arn:aws:iam::999999999999:role/{role.rpartition('/')[2]}", call)


def test_an_account_that_left_the_organization_is_cut_off(sides: Sides) -> None:
    """Every resource policy requires the organization if the platform names one."""
    answers = {
        sides.admitted(role, (action, arn, keys | {"aws:principalorgid": "o-another0000"}))
        for role, (action, arn, keys) in sides.needed
    }

    assert answers == {sides.organization is None}


def test_no_statement_for_the_other_account_can_be_dropped(sides: Sides) -> None:
    """Each statement is the only one for some call, and there are no others."""
    others = [{"AWS": f"arn:aws:iam::{place.account}:root"} for place in (sides.target, BUILD)]
    tested = []
    for service, statements in sides.resource.items():
        foreign = others if service == "events" else others[:1]
        for place, statement in enumerate(statements):
            if statement["Principal"] not in foreign:
                continue
            left = [each for at, each in enumerate(statements) if at != place]
            needed = [(role, call) for role, call in sides.needed if call[0].startswith(f"{service}:")]
            assert not all(sides.admitted(role, call, left) for role, call in needed), (service, statement)
            tested.append(service)

    # two inboxes; repositories have one statement for the fixed role name, and one for endpoints
    twice = {"events", "ecr"} & {call[0].split(":")[0] for _, call in sides.needed}
    assert sorted(tested) == sorted([*twice, *{call[0].split(":")[0] for _, call in sides.needed}])


def test_no_right_in_the_other_account_can_be_dropped(sides: Sides) -> None:
    """For each of the four roles, each statement is the only one that allows some call."""
    tested = 0
    for role, statements in sides.identity.items():
        needed = [call for each, call in sides.needed if each == role]
        for place, statement in enumerate(statements):
            if not any(sides.granted(role, call, [statement]) for call in needed):
                continue
            left = [each for at, each in enumerate(statements) if at != place]
            assert not all(sides.granted(role, call, left) for call in needed), (role, statement)
            tested += 1

    assert tested == len({(role, call[0].split(":")[0]) for role, call in sides.needed})


def test_no_condition_of_a_policy_can_be_widened(sides: Sides) -> None:
    """Removing a condition, or widening an action or resource, allows a call that must be denied."""
    forbidden = [each for role, call in sides.needed for each in _variations(role, call)]
    forbidden += [(_role(purpose, sides.target), call) for purpose in PURPOSES for call in FORBIDDEN]
    for sender, receiver in ((BUILD, sides.target), (sides.target, BUILD)):
        forbidden.append((_role("send", sender), ("events:PutRule", sides.inboxes[receiver], OURS)))
    others = [{"AWS": f"arn:aws:iam::{place.account}:root"} for place in (sides.target, BUILD)]
    tested = set()
    for service, statements in sides.resource.items():
        mine = [(role, call) for role, call in forbidden if call[0].startswith(f"{service}:")]
        denied = [each for each in mine if not sides.admitted(*each)]
        foreign = others if service == "events" else others[:1]
        for place, statement in enumerate(statements):
            if statement["Principal"] not in foreign:
                continue
            for part, wider in _widened(statement):
                changed = [wider if at == place else each for at, each in enumerate(statements)]
                caught = [each for each in denied if sides.admitted(*each, changed)]
                assert caught, f"{service}: without {part} every call that is denied stays denied: {statement}"
                tested.add((service, part))
    of_all = {"aws:PrincipalArn", "Action"} | ({"aws:PrincipalOrgID"} if sides.organization else set())
    services = {call[0].partition(":")[0] for _, call in sides.needed}

    assert tested == {
        *((service, part) for service in services for part in of_all),
        *((service, "Resource") for service in services & {"s3", "sagemaker"}),
        ("kms", "kms:ViaService"),
        ("events", "events:source"),
    }


def test_no_right_in_the_other_account_can_be_widened(sides: Sides) -> None:
    """Each condition, action and resource of a role's statements blocks some call, without its boundary."""
    roles: list[tuple[str, str]] = [(purpose, _role(purpose, sides.target)) for purpose in PURPOSES]
    roles += [("pull", ENDPOINT)] if ENDPOINT in sides.identity else []
    roles += [("send", _role("send", place)) for place in (BUILD, sides.target)]
    tested = set()
    for purpose, role in roles:
        statements = sides.identity[role]
        needed = [call for each, call in sides.needed if each == role]
        for place, statement in enumerate(statements):
            if not any(sides.granted(role, call, [statement]) for call in needed):
                continue
            for part, wider in _widened(statement):
                changed = [wider if at == place else each for at, each in enumerate(statements)]
                denied = [call for call in OVERREACHING[purpose] if not _allows(role, call, statements)]
                caught = [call for call in denied if _allows(role, call, changed)]
                assert caught, f"{purpose}: without {part} every call that is denied stays denied: {statement}"
                tested.add((role, part))
    promote = _role("promote", sides.target)

    assert tested == {
        *((role, part) for role, _ in sides.needed for part in ("Action", "Resource")),
        (promote, "aws:ResourceAccount"),
        (promote, "kms:ViaService"),
    }


def test_no_stack_depends_on_the_other(sides: Sides) -> None:
    """Either stack may be deployed first."""
    assert sides.dependencies == []


def test_in_one_account_a_roles_own_policies_decide() -> None:
    """The source's policies admit roles that its account grants, for models of the unit only."""
    sides = Sides(NEXT_DOOR, None)
    of_the_unit = ("models/demand-returns", "releases/demand-weekly")
    forbidden = [call for call in FORBIDDEN if not any(each in call[1] for each in of_the_unit)]
    roles = [_role(purpose, NEXT_DOOR) for purpose in PURPOSES]

    assert [call for role, call in sides.needed if not sides.granted(role, call)] == []
    assert len(forbidden) == len(FORBIDDEN) - 2
    assert [call for role in roles for call in forbidden if sides.granted(role, call)] == []
