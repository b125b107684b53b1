"""Options of ``metric_*`` methods: what CloudWatch and the endpoint do not allow is one ``ValidationError`` with every problem."""

from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
import pytest
from tests.docs.given import Given

from mlops_constructs import ModelEndpoint, ValidationError
from mlops_constructs._metric_options import metric_problems
from mlops_runtime.layers import layer_wheels

OPTIONS = ("label", "period", "statistic", "variant")


def _problems(*, variants: tuple[str, ...] | None = None, **options: object) -> list[str]:
    return list(metric_problems(options, allowed=OPTIONS, variants=variants))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """Constructs of the documentation's examples, with an empty folder as the monitor's layer."""
    folder = tmp_path_factory.mktemp("options")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_wheels, "ASSETS", folder / "assets")
        (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True)
        yield Given(folder)


@pytest.mark.parametrize("seconds", [1, 5, 10, 30, 60, 300, 86400])
def test_a_period_of_cloudwatch_is_allowed(seconds: int) -> None:
    """The metric of the CDK accepts it, too."""
    period = cdk.Duration.seconds(seconds)
    assert _problems(period=period) == []
    assert cdk.aws_cloudwatch.Metric(namespace="N", metric_name="M", period=period).period.to_seconds() == seconds


@pytest.mark.parametrize(
    ("seconds", "got", "minutes"), [(0, "0", 1), (1.5, "1.5", 1), (2, "2", 1), (20, "20", 1), (90, "90", 2)]
)
def test_another_period_is_a_problem(seconds: float, got: str, minutes: int) -> None:
    """Names the next longer period that is allowed."""
    assert _problems(period=cdk.Duration.seconds(seconds)) == [
        f"period must be 1, 5, 10, 30 or a multiple of 60 seconds, got {got}; use Duration.minutes({minutes})"
    ]


@pytest.mark.parametrize(
    "statistic",
    [
        "Average", "avg", "Minimum", "min", "Maximum", "max", "Sum", "SampleCount", "n", "IQM", "p99", "p99.9", "p100", "p0",
        "tm90", "wm98", "tc90", "ts90", "TM(10%:90%)", "WM(:95%)", "TC(0.005:0.030)", "TS(80%:)", "PR(:300)", "PR(100:2000)",
    ],
)  # fmt: skip
def test_a_statistic_of_cloudwatch_is_allowed(statistic: str) -> None:
    """Includes short names, which the CDK translates."""
    assert _problems(statistic=statistic) == []


def test_a_statistic_that_is_only_known_at_deployment_is_allowed() -> None:
    """It may be a parameter of the stack."""
    assert _problems(statistic=cdk.Token.as_string({"Ref": "Statistic"})) == []


@pytest.mark.parametrize(
    "statistic", ["", "mean", "p", "p101", "p100.5", "tm", "PR()", "PR(:)", "TM(10%:90)", "TM(10%:190%)", "Sum "]
)
def test_another_statistic_is_a_problem(statistic: str) -> None:
    """The CDK would write it into the template, and CloudWatch would refuse it at deployment."""
    assert _problems(statistic=statistic) == [
        "statistic must be one that CloudWatch computes, such as 'Average' or 'p99', "
        f"got {statistic!r}; use a member of aws_cloudwatch.Stats"
    ]


def test_a_variant_must_be_one_of_the_endpoint() -> None:
    """Without known names, only an empty one is a problem."""
    fix = "; leave it out for the main variant"
    assert _problems(variant="Blue") == _problems(variant="Arm", variants=("AllTraffic", "Arm")) == []
    assert _problems(variant="") == [f"variant must be the name of one of the endpoint's variants, got ''{fix}"]
    assert _problems(variant="Blue", variants=("AllTraffic", "Arm")) == [
        f"variant must be 'AllTraffic' or 'Arm', got 'Blue'{fix}"
    ]
    assert _problems(variant=cdk.Token.as_string({"Ref": "Variant"}), variants=("AllTraffic",)) == []


def test_an_unknown_option_is_a_problem() -> None:
    """The message names those that exist."""
    assert _problems(unit="Count") == ["unit is not an option of this metric; use label, period, statistic, variant"]


def test_a_metric_of_a_monitor_checks_its_options(given: Given) -> None:
    """All problems come at once, with those of wrong types first."""
    with pytest.raises(ValidationError) as caught:
        given.monitor.metric_max_psi(  # type: ignore[call-arg]
            period=cdk.Duration.seconds(1.5),
            statistic="mean",
            label=5,  # type: ignore[arg-type]
            foo=1,
        )
    assert caught.value.code == "InvalidModelMonitor"
    assert [problem.split()[0] for problem in caught.value.problems] == ["label", "foo", "period", "statistic"]
    assert "[Example/" in str(caught.value)
    with pytest.raises(ValidationError, match=r"^InvalidModelMonitor: period must be 1, 5"):
        given.monitor.metric_psi("price", period=cdk.Duration.seconds(1.5))


def test_a_metric_of_an_endpoint_knows_its_variants(given: Given) -> None:
    """An endpoint that another stack defines may have any."""
    with pytest.raises(ValidationError, match=r"^InvalidModelEndpoint: variant must be 'AllTraffic', got 'Blue'"):
        given.endpoint.metric_invocations(variant="Blue")
    imported = ModelEndpoint.from_endpoint_name(cdk.Stack(cdk.App(), "S"), "Imported", endpoint_name="demand-forecast")
    metric: Any = imported.metric_invocations(variant="Blue")
    assert metric.dimensions["VariantName"] == "Blue"
    with pytest.raises(ValidationError, match="variant must be the name of one of the endpoint's variants, got ''"):
        imported.metric_invocations(variant="")
