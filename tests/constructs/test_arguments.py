"""Argument types: allowed values, messages, 2,000 invalid calls over every public constructor and factory, and public methods."""

import datetime
import enum
import inspect
import itertools
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.docs.given import Given

import mlops_constructs
from constructs import Construct
from mlops_constructs import FeatureIngest, GateSpec, ModelImage, Profile, RetrainingPipeline, Scaling, ValidationError
from mlops_constructs._arguments import checked, is_of, problem_of
from mlops_runtime.layers import layer_wheels

# calls per callable, 2,000 in total
EXAMPLES = 24
PUBLIC = {name: getattr(mlops_constructs, name) for name in mlops_constructs.__all__}


def _callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Return our public constructors, factories and functions; contract classes validate themselves when read."""
    for name, item in PUBLIC.items():
        is_bag = inspect.isclass(item) and (issubclass(item, enum.Enum | Exception) or hasattr(item, "__total__"))
        if not item.__module__.startswith("mlops_constructs") or is_bag or getattr(item, "_is_protocol", False):
            continue
        yield name, item
        for member, found in vars(item).items() if inspect.isclass(item) else ():
            if isinstance(found, classmethod) and not member.startswith("_"):
                yield f"{name}.{member}", getattr(item, member)


CALLABLES = dict(_callables())


def _methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Return the methods with arguments of our public classes and of their bases."""
    for item in filter(inspect.isclass, (CALLABLES[name] for name in CALLABLES)):
        for kind in (each for each in item.__mro__ if each.__module__.startswith("mlops_constructs")):
            for name, member in vars(kind).items():
                if inspect.isfunction(member) and name[0] != "_" and len(inspect.signature(member).parameters) > 1:
                    yield f"{kind.__name__}.{name}", member


METHODS = dict(_methods())


def _arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function's arguments and of its options."""
    hints = typing.get_type_hints(function)
    del hints["return"]
    for name, each in list(hints.items()):
        if typing.get_origin(each) is typing.Unpack:
            del hints[name]
            hints |= typing.get_type_hints(typing.get_args(each)[0])
    return hints


class Values:
    """Values of each type: valid, out of range and tokens; and values of foreign types."""

    def __init__(self, folder: Path) -> None:
        self.given = Given(folder)
        stack = self.stack = self.given.stack
        number, text = cdk.Token.as_number({"Ref": "Number"}), cdk.Token.as_string({"Ref": "Text"})
        role = iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal())
        vpc = ec2.Vpc(stack, "Vpc")
        self.known: dict[object, list[object]] = {
            str: ["forecast", "ml.m5.large", "sg-0123456789abcdef0", "", "NO WAY!", "x" * 300, text],
            int: [1, 2, 60, 0, -1, 10**9, number],
            float: [1.0, 0.5, 0.0, -1.5, 1e12, float("nan"), float("inf"), number],
            bool: [True, False],
            Path: [folder, folder / "features.lock.json", folder / "absent", Path()],
            cdk.Duration: [
                *(cdk.Duration.minutes(each) for each in (0, 1, 10, 60, 1440, 10080, 10**7)),
                cdk.Duration.seconds(1.5),
                cdk.Duration.minutes(number),
            ],
            cdk.Size: [*(cdk.Size.mebibytes(each) for each in (0, 1, 2048, 30720, 10**9)), cdk.Size.mebibytes(number)],
            datetime.timedelta: [datetime.timedelta(days=1)],
            Construct: [stack],
            ec2.SubnetSelection: [ec2.SubnetSelection(one_per_az=True)],
        }
        self.pool: list[object] = [
            role,
            vpc,
            kms.Key(stack, "AKey"),
            s3.Bucket(stack, "ABucket"),
            s3.Bucket.from_bucket_name(stack, "Imported", "imported"),
            sns.Topic(stack, "ATopic"),
            ec2.SecurityGroup(stack, "AGroup", vpc=vpc),
            iam.ManagedPolicy(
                stack, "APolicy", statements=[iam.PolicyStatement(actions=["s3:GetObject"], resources=["*"])]
            ),
            iam.OidcProviderNative(stack, "AProvider", url="https://gitlab.com", client_ids=["x"]),
            cloudwatch.Alarm(
                stack,
                "AnAlarm",
                metric=cloudwatch.Metric(namespace="N", metric_name="M"),
                threshold=1,
                evaluation_periods=1,
            ),
            eks.Cluster.from_cluster_attributes(stack, "ACluster", cluster_name="c", vpc=vpc),
            *(getattr(self.given, name) for name in self._names()),
        ]
        self.wrong: list[object] = [
            None, 5, 1.5, True, "text", b"bytes", [], {}, (), ["a"], {"a": 1}, ("a", 1), {1, 2}, object(), Profile,
            datetime.timedelta(days=1), cdk.Token.as_any({"Ref": "Any"}), *self.pool[:4], lambda: None,
        ]  # fmt: skip

    @staticmethod
    def _names() -> list[str]:
        fields = vars(Given).items()
        return [name for name, member in fields if not name.startswith("_") and hasattr(member, "func")]

    def of(self, annotation: Any) -> list[object]:
        """Return values that an annotation allows, if any."""
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (typing.Union, types.UnionType):
            return [value for each in arguments for value in self.of(each)]
        if annotation is type(None):
            return [None]
        if origin is Literal:
            return list(arguments)
        if origin in (tuple, Sequence):
            items = self.of(arguments[0])
            some = [[], items[:1], items[:2], items[:1] * 2, items[-1:]]
            return [tuple(each) if origin is tuple else each for each in some]
        if origin is Mapping:
            keys, items = self.of(arguments[0]), self.of(arguments[1])
            return [{}, *({key: item} for key in keys[:3] for item in items[:4])]
        if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
            return list(annotation)
        if annotation in self.known:
            return self.known[annotation]
        return [value for value in self.pool if is_of(value, annotation)]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Values]:
    """Values of each type, in a stack that is never synthesized."""
    folder = tmp_path_factory.mktemp("arguments")
    with pytest.MonkeyPatch.context() as patch:
        # empty files in place of the wheels of ``mlops assets build``, which constructs only copy
        patch.setattr(layer_wheels, "ASSETS", folder / "assets")
        (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True)
        patch.chdir(folder)
        yield Values(folder)


IDS = itertools.count()


def _draw(data: st.DataObject, values: Values, function: Callable[..., Any]) -> dict[str, Any]:
    """Draw arguments: each valid, out of range, of a wrong type, a token, or omitted if optional."""
    called = function.__init__ if inspect.isclass(function) else function
    hints, arguments = typing.get_type_hints(called), {}
    for name, parameter in inspect.signature(called).parameters.items():
        if name == "self":
            continue
        right, is_optional = values.of(hints[name]), parameter.default is not parameter.empty
        choice = data.draw(st.integers(0, 9), label=name)
        if name in {"scope", "id"}:
            usual: object = values.stack if name == "scope" else f"Try{next(IDS)}"
            arguments[name] = usual if choice else data.draw(st.sampled_from(values.wrong))
        elif choice < 2 or not right:
            arguments[name] = data.draw(st.sampled_from(values.wrong))
        elif choice < 7 or not is_optional:
            arguments[name] = data.draw(st.sampled_from(right))
    return arguments


@pytest.mark.parametrize("name", CALLABLES)
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_wrong_call_is_a_validation_error(values: Values, name: str, data: st.DataObject) -> None:
    """Invalid arguments only raise ``ValidationError``, whose problems name the values."""
    function = CALLABLES[name]
    arguments = _draw(data, values, function)
    try:
        function(**arguments)
    except ValidationError as error:
        assert error.problems
        assert all(len(problem) > 10 for problem in error.problems)


def test_each_argument_of_a_method_has_its_type(values: Values) -> None:
    """A value of a wrong type is a problem with the argument's name, and the method is not called."""
    for method, function in METHODS.items():
        for name, annotation in _arguments(function).items():
            for value in values.wrong:
                if is_of(value, annotation):
                    continue
                with pytest.raises(ValidationError) as caught:
                    function(None, **{name: value})
                assert caught.value.problems[0].startswith(f"{name} must be "), method


def test_methods_of_every_public_class_are_tried() -> None:
    """Inherited ones included."""
    assert len(METHODS) >= 180
    assert {"RegistryBase.grant_review", "ModelEndpointBase.grant_invoke", "BusinessUnit.grant_pause"} <= set(METHODS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda given: given.registry.grant_read("x"),
            "InvalidModelRegistry: grantee must be an aws_iam.IGrantable, got",
        ),
        (
            lambda given: given.registry.grant_approve(given.unit),
            "InvalidModelRegistry: grantee must be an aws_iam.IGr",
        ),
        (lambda given: given.endpoint.grant_invoke("x"), "InvalidModelEndpoint: grantee must be an aws_iam.IGrantable"),
        (lambda given: given.unit.grant_pause("x"), "InvalidBusinessUnit: grantee must be an aws_iam.IGrantable"),
        (
            lambda given: given.endpoint.metric_invocations(period=5),
            "InvalidModelEndpoint: period must be a cdk.Duration",
        ),
        (
            lambda given: given.monitor.metric_psi(5, label=6),
            "InvalidModelMonitor: feature must be a string, got 5; label",
        ),
        (
            lambda given: given.imported.metric_invocations(period=5, variant=None),
            "InvalidModelEndpoint: period must be a cdk.Duration such as Duration.days(90), got 5; variant must be a string",
        ),
    ],
)
def test_a_method_names_every_argument_of_a_wrong_type(
    values: Values, call: Callable[[Any], object], message: str
) -> None:
    """Has the code of the class and the path of the construct; imported ones, too."""
    given = values.given
    given.imported = mlops_constructs.ModelEndpoint.from_endpoint_name(  # type: ignore[attr-defined]
        given.stack, f"Imported{next(IDS)}", endpoint_name="demand-forecast"
    )
    with pytest.raises(ValidationError) as caught:
        call(given)
    assert str(caught.value).startswith(message)
    assert "[Example/" in str(caught.value)


def test_a_method_keeps_its_signature() -> None:
    """Editors and the documentation show it."""
    signature = inspect.signature(mlops_constructs.ModelRegistry.grant_read)
    assert str(signature) == "(self, grantee: aws_cdk.aws_iam.IGrantable) -> aws_cdk.aws_iam.Grant"


def test_there_are_2000_wrong_calls() -> None:
    """Covers every public constructor, factory and function of the package."""
    assert len(CALLABLES) * EXAMPLES >= 2000
    assert {"BusinessUnit", "ModelEndpoint.from_endpoint_name", "Scaling", "off_hours"} <= set(CALLABLES)


@pytest.mark.parametrize(
    ("annotation", "value", "problem"),
    [
        (str, 5, "it must be a string, got 5"),
        (str | None, 5, "it must be a string, or left out, got 5"),
        (int, True, "it must be a whole number, got True"),
        (float, float("inf"), "it must be a finite number, got inf"),
        (Sequence[str], "ab", "it must be a list of strings, got 'ab'; write ['ab'] for a list of one"),
        (tuple[str, ...], "ab", "it must be a tuple of strings, got 'ab'; write ('ab',) for a tuple of one"),
        (tuple[str, ...], ["ab"], "it must be a tuple of strings, got ['ab']"),
        (Mapping[str, float], {"a": "1"}, "it must be a mapping of strings to finite numbers, got {'a': '1'}"),
        (Literal["plan", "deploy"], "destroy", "it must be 'plan' or 'deploy', got 'destroy'"),
        (Profile, "production", "it must be Profile.DEVELOPMENT or Profile.PRODUCTION, got 'production'"),
        (str | Path, 5, "it must be a path such as 'features.lock.json', got 5"),
        (cdk.Duration, 5, "it must be a cdk.Duration such as Duration.days(90), got 5"),
        (iam.IRole, "arn", "it must be an aws_iam.IRole such as Role.from_role_arn(...), got 'arn'"),
        (mlops_constructs.EndpointCapacity, "ml.m5.large", "it must be an EndpointCapacity such as EndpointCapacity."),
    ],
)
def test_a_problem_says_what_is_allowed_and_the_fix(annotation: Any, value: object, problem: str) -> None:
    """A problem is one sentence with the value."""
    assert str(problem_of("it", value, annotation)).startswith(problem)


def test_a_required_argument_is_not_left_out() -> None:
    """An argument that may be None but has no default, such as a digest from context, must be given."""
    assert problem_of("digest", 5, str | None) == "digest must be a string, or left out, got 5"
    assert problem_of("digest", 5, str | None, is_required=True) == "digest must be a string, got 5"
    with pytest.raises(ValidationError, match="digest must be a string, got 5"):
        ModelImage.from_ecr(repository_name="images", digest=5)  # type: ignore[arg-type]


def test_a_value_names_wrong_types_and_ranges_at_once() -> None:
    """Reported together if the argument of a wrong type has a default; else types come first."""
    with pytest.raises(ValidationError) as caught:
        FeatureIngest(max_rows=0, retention=90, memory_size=cdk.Size.mebibytes(8))  # type: ignore[arg-type]
    assert str(caught.value).startswith("InvalidFeatureIngest: retention must be a cdk.Duration")
    assert "max_rows must be a whole number from 1 to 100000000, got 0" in str(caught.value)
    assert "memory_size must be" in str(caught.value)
    with pytest.raises(ValidationError, match=r"^InvalidScaling: min_capacity must be a whole number, got 'x'$"):
        Scaling(min_capacity="x", max_capacity=-1)  # type: ignore[arg-type]


def test_a_construct_names_wrong_types_and_ranges_at_once() -> None:
    """Nothing is added to the app; a wrong type without a default hides the ranges until it is fixed."""
    stack = cdk.Stack(cdk.App(), "S")
    with pytest.raises(ValidationError) as caught:
        mlops_constructs.BusinessUnit(stack, "Unit", name="NO WAY", profile="production", owner="#")  # type: ignore[arg-type]
    assert [problem.split()[0] for problem in caught.value.problems] == ["profile", "name", "owner"]
    assert stack.node.children == []
    with pytest.raises(ValidationError, match=r"InvalidBusinessUnit: name must be a string, got 5 \[S\]"):
        mlops_constructs.BusinessUnit(stack, "Unit", name=5, owner="#")  # type: ignore[arg-type]


def test_a_contract_class_is_checked_by_its_fields() -> None:
    """Contract classes validate themselves only when read, so constructs name each field of a wrong type."""
    stack = cdk.Stack(cdk.App(), "S")
    gate, unit = GateSpec(confidence="high", seed=1.5), object()  # type: ignore[arg-type]
    with pytest.raises(ValidationError) as caught:
        RetrainingPipeline(stack, "Wrong", business_unit=unit, gate=gate)  # type: ignore[arg-type,call-arg]
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "business_unit",
        "gate.confidence",
        "gate.seed",
    ]
    assert caught.value.problems[1] == "gate.confidence must be a finite number, got 'high'"


def test_interfaces_of_cdk_are_told_apart() -> None:
    """A role is not a key, defined or imported; imported objects are instances of unknown Python classes."""
    stack = cdk.Stack(cdk.App(), "S")
    role = iam.Role.from_role_arn(stack, "Role", "arn:aws:iam::111122223333:role/x")
    key, bucket = kms.Key(stack, "Key"), s3.Bucket.from_bucket_name(stack, "Bucket", "name")
    assert [is_of(each, iam.IRole) for each in (role, key, bucket)] == [True, False, False]
    assert [is_of(each, kms.IKey) for each in (role, key, bucket)] == [False, True, False]
    assert [is_of(each, s3.IBucket | None) for each in (role, key, bucket, None)] == [False, False, True, True]


def test_tokens_are_of_their_type() -> None:
    """Numeric tokens are floats in Python and accepted as integers; durations must be known."""
    number = cdk.Token.as_number({"Ref": "X"})
    assert is_of(number, int)
    assert is_of(cdk.Token.as_string({"Ref": "X"}), str)
    assert is_of(cdk.Token.as_list({"Ref": "X"}), Sequence[str])
    assert not is_of(cdk.Token.as_string({"Ref": "X"}), int)
    problem = problem_of("window", cdk.Duration.hours(number), cdk.Duration)
    assert str(problem).endswith("got a Duration that is only known at deployment")


@pytest.mark.parametrize(
    ("member", "interface", "message"),
    [
        ("registry", "IModelRegistry", "an IModelRegistry such as ModelRegistry(...)"),
        ("monitor", "IModelMonitor", "an IModelMonitor such as ModelMonitor(...)"),
        ("retraining", "IRetrainingPipeline", "an IRetrainingPipeline such as RetrainingPipeline(...)"),
        ("tenant", "IEksTenant", "an IEksTenant such as EksTenant(...)"),
        ("store", "IUnitFeatureStore", "an IUnitFeatureStore"),
        ("unit", "IBusinessUnit", "an IBusinessUnit such as BusinessUnit(...)"),
    ],
)
def test_an_interface_is_met_by_its_members(values: Values, member: str, interface: str, message: str) -> None:
    """Accepts any construct with the members; the error names the interface."""
    kind, construct = getattr(mlops_constructs, interface), getattr(values.given, member)
    names = [name for name in dir(kind) if not name.startswith("_")]
    foreign = type("Foreign", (), dict.fromkeys(names))()
    lacking = type("Lacking", (), dict.fromkeys(names[1:]))()
    assert is_of(construct, kind)
    assert is_of(foreign, kind)
    assert problem_of("it", lacking, kind) == f"it must be {message}, got a test_arguments.Lacking"


def test_every_argument_of_a_wrong_type_is_named_at_once() -> None:
    """Has the code of the class and the path of the construct to be defined."""
    stack = cdk.Stack(cdk.App(), "S")
    wrong: dict[str, Any] = {"name": 5, "profile": "production", "encryption_key": "arn:aws:kms:us-east-1:1:key/1"}
    with pytest.raises(ValidationError) as error:
        mlops_constructs.BusinessUnit(stack, "Unit", **wrong)
    assert error.value.code == "InvalidBusinessUnit"
    assert [problem.split()[0] for problem in error.value.problems] == ["name", "profile", "encryption_key"]
    assert str(error.value).endswith("[S]")


@pytest.mark.parametrize(
    "id", ["", cdk.Token.as_string({"Ref": "X"}), "Unit"], ids=["empty", "known at deployment", "taken"]
)
def test_an_id_that_cdk_refuses_is_a_problem_too(id: str) -> None:
    """Rejects empty ids, tokens and duplicates, for which CDK raises JavaScript errors."""
    stack = cdk.Stack(cdk.App(), "S")
    Construct(stack, "Unit")
    with pytest.raises(ValidationError, match="InvalidEksCluster: id must be"):
        mlops_constructs.EksCluster(stack, id, name="c", security_group_id="sg-12345678", subnet_cidrs=["10.0.0.0/16"])


def test_a_function_is_checked_too() -> None:
    """The decorator keeps the function's name and signature."""

    @checked("InvalidThing")
    def thing(*, size: int = 1) -> int:
        return size

    assert (thing(), thing(size=2), thing.__name__, list(inspect.signature(thing).parameters)) == (
        1,
        2,
        "thing",
        ["size"],
    )
    with pytest.raises(ValidationError, match="InvalidThing: size must be a whole number, got 'x'"):
        thing(size="x")  # type: ignore[arg-type]
