"""Manifests as YAML."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.eks import samples

from mlops_constructs.eks_inference.manifest_applier import render_yaml
from mlops_runtime.contracts.serving import EksTenantSpec
from mlops_runtime.eks.manifests import service_manifests, slot_manifests
from mlops_runtime.eks.tenant import enforcement_manifest, tenant_manifests


def test_what_is_written_is_what_is_read() -> None:
    """A safe loader reads the same values in the same order without anchors, and writing is deterministic."""
    made = [
        *tenant_manifests(samples.TENANT),
        enforcement_manifest(),
        *service_manifests(samples.SPEC),
        *slot_manifests(samples.SPEC, "blue", samples.VERSION),
    ]
    text = render_yaml(made)

    assert list(yaml.safe_load_all(text)) == made
    assert render_yaml(made) == text
    assert text.startswith("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: bu-demand\n")
    assert "&id" not in text
    assert text.count("\n---\n") == len(made) - 1


def test_values_that_are_the_same_are_written_twice() -> None:
    """Writes no anchors, which some readers of manifests reject."""
    shared = {"key": "value"}

    assert render_yaml([{"one": shared, "two": shared}]) == "---\none:\n  key: value\ntwo:\n  key: value\n"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_text_stays_text(value: str) -> None:
    """Quotes ``no``, ``1e3``, ``0o7``, ``null``, line breaks and other ambiguous strings."""
    assert list(yaml.safe_load_all(render_yaml([{"metadata": {"name": value}}]))) == [{"metadata": {"name": value}}]


@pytest.mark.parametrize(
    "value",
    [
        "on",
        "no",
        "1e3",
        "0o7",
        "1_000",
        "null",
        "~",
        "2026-11-24",
        "12:30:45",
        "=",
        "<<",
        "",
        "y",
        ".inf",
        "12e4567",
        "+1",
    ],
)
def test_what_only_looks_like_something_else_is_quoted(value: str) -> None:
    """YAML 1.1 and 1.2 readers interpret these differently."""
    assert render_yaml([{"value": value}]) == f"---\nvalue: '{value}'\n"


def test_what_is_no_plain_value_is_refused() -> None:
    """Rejects Python objects."""
    tenant = EksTenantSpec(namespace="d", unit="d", applier_group="g", cpu="1", memory="1Gi", pods=1)

    with pytest.raises(yaml.representer.RepresenterError):
        render_yaml([{"spec": tenant}])
