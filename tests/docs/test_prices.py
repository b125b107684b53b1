"""Prices on the pages are those of the estimate."""

import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from examples.first_endpoint import FirstEndpoint
from examples.retail.demand_forecasting.stack import DemandForecasting

from mlops_constructs import ModelImage, Profile
from mlops_runtime.changes.template import Template
from mlops_runtime.price import MonthlyPrice, monthly_price, price_table

ROOT = Path(__file__).resolve().parents[2]


def price(kind: type[cdk.Stack], **options: Any) -> MonthlyPrice:
    """Synthesize a stack and estimate its price."""
    app = cdk.App()
    kind(
        app,
        "Priced",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        **options,
    )
    text = (Path(app.synth().directory) / "Priced.template.json").read_text()
    return monthly_price(Template(document=json.loads(text)), price_table("us-east-1"))


@pytest.mark.parametrize(
    ("row", "kind", "options"),
    [
        ("`FirstEndpoint`, DEVELOPMENT", FirstEndpoint, {}),
        ("a unit with a monitor, DEVELOPMENT", DemandForecasting, {"profile": Profile.DEVELOPMENT}),
        ("a unit with a monitor, PRODUCTION", DemandForecasting, {"profile": Profile.PRODUCTION}),
    ],
)
def test_the_page_names_the_price(row: str, kind: type[cdk.Stack], options: dict[str, Any]) -> None:
    """Rounded to five USD, the page's numbers are within five USD of the interval."""
    (line,) = [text for text in (ROOT / "docs/start.md").read_text().splitlines() if text.startswith(f"| {row} |")]
    idle, serving = (float(number) for number in re.findall(r"about (\d+)", line))
    found = price(kind, **options)

    assert found.idle[0] - 5 <= idle <= found.idle[1] + 5
    assert found.serving[0] - 5 <= serving <= found.serving[1] + 5


def test_the_readme_names_the_same() -> None:
    """README names both prices of the first endpoint."""
    page = " ".join((ROOT / "README.md").read_text().split())
    assert "about 65 USD a month while it is idle and about 150 while it serves" in page
