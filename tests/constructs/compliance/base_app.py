"""Synthesizes the base constructs in both profiles into a folder, with evidence; ``test_harness.py`` runs it as a process."""

import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aws_cdk as cdk

from mlops_constructs import (
    BusinessUnit,
    Entity,
    Feature,
    FeatureAccess,
    FeatureGroup,
    FeatureStore,
    ModelRegistry,
    Profile,
)
from mlops_constructs.compliance.harness import add_packs, check
from mlops_runtime.features.lock_file import write_lock

GROUP = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
)


def build(folder: Path, lock_file: Path) -> cdk.App:
    """Return an app with a plain unit, a unit with store and registry, and one with all store options, in each profile."""
    app = cdk.App(outdir=str(folder), context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    for profile in Profile:
        BusinessUnit(cdk.Stack(app, f"Unit-{profile.name.title()}"), "Unit", name="pricing", profile=profile)
        stack = cdk.Stack(app, f"Base-{profile.name.title()}")
        unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
        ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
        FeatureStore(stack, "Features", business_unit=unit, groups=[GROUP], lock_file=lock_file)
        _lake(app, profile, lock_file)
    return app


def _lake(app: cdk.App, profile: Profile, lock_file: Path) -> None:
    """Define a store with every optional feature, and a unit that reads it."""
    stack = cdk.Stack(app, f"Lake-{profile.name.title()}")
    unit = BusinessUnit(stack, "Unit", name="lake", profile=profile)
    store = FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=[replace(GROUP, freshness=timedelta(days=8))],
        lock_file=lock_file,
        access=FeatureAccess.LAKE_FORMATION,
        snapshot_retention=cdk.Duration.days(365),
        freshness_interval=cdk.Duration.days(1),
    )
    reader = BusinessUnit(stack, "Reader", name="reader", profile=profile)
    FeatureStore.from_feature_store_attributes(
        stack,
        "Stock",
        business_unit=reader,
        owner_name="lake",
        data_bucket=store.data_bucket,
        key=store.key,
        groups=store.groups,
        access=store.access,
    )


def main(folder: Path, *, packs: bool) -> None:
    """Write the assembly; ``packs`` adds them as plugins, which fail on a finding, and writes ``compliance.json``."""
    lock_file = folder / "features.lock.json"
    write_lock([GROUP], lock_file)
    app = build(folder / "cdk.out", lock_file)
    if not packs:
        app.synth()
        return
    add_packs(app)
    evidence = check(app)
    document = {**json.loads(evidence.to_json()), "problems": evidence.problems, "plugins_passed": True}
    (folder / "compliance.json").write_text(json.dumps(document, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), packs="--packs" in sys.argv)
