# /// script
# requires-python = ">=3.11,<3.15"
# dependencies = ["sagemaker==3.27.0"]
# ///
"""Make a data scientist's calls with the stock SageMaker SDK, and print the result of each.

The SDK has an environment of its own: ``uv sync --script tests/local/foreign/sagemaker_calls.py``. It finds the account by its
environment variables only, as in the shell of ``mlops local env``, without naming the embedded cloud. The only argument is JSON:
``role`` of jobs and models, ``image``, ``model`` (URI of model data), and ``script`` of a job. Prints one JSON line per
call: its name, and ``error`` if it failed.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sagemaker.core import resources, shapes
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.processing import Processor
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train.configs import Compute, InputData, OutputDataConfig
from sagemaker.train.model_trainer import ModelTrainer

GIVEN = json.loads(sys.argv[1])
ROLE, IMAGE, MODEL = GIVEN["role"], GIVEN["image"], GIVEN["model"]
VARIANT = {
    "variant_name": "AllTraffic",
    "model_name": "sdk",
    "instance_type": "ml.m5.large",
    "initial_instance_count": 1,
}
CALLS: dict[str, Callable[[], None]] = {}


def call(function: Callable[[], None]) -> Callable[[], None]:
    """Register a call by its function's name."""
    CALLS[function.__name__] = function
    return function


def check(found: object, expected: object) -> None:
    """Fail with both values unless they are equal."""
    if found != expected:
        raise AssertionError(f"expected {expected!r}, got {found!r}")


@call
def session_and_account() -> None:
    """Read region and account; STS is called at its regional address."""
    session = Session()
    check((session.boto_region_name, session.account_id()), ("us-east-1", "000000000000"))


@call
def execution_role() -> None:
    """Find the caller's role."""
    check(get_execution_role(Session()), "arn:aws:iam::000000000000:role/scientist")


@call
def default_bucket() -> None:
    """Create the bucket of account and region."""
    check(Session().default_bucket(), "sagemaker-us-east-1-000000000000")


@call
def upload_and_download() -> None:
    """Copy a file to the default bucket and back."""
    session = Session()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.csv")
        file.write_text("1,2\n")
        check(session.upload_data(str(file), key_prefix="sdk"), f"s3://{session.default_bucket()}/sdk/rows.csv")
        (found,) = session.download_data(f"{folder}/back", session.default_bucket(), key_prefix="sdk/rows.csv")
        check(Path(found).read_text(), "1,2\n")


@call
def train() -> None:
    """Train with ModelTrainer on the uploaded rows, following the logs to the end."""
    bucket = Session().default_bucket()
    trainer = ModelTrainer(
        training_image=IMAGE, role=ROLE, base_job_name="sdk", hyperparameters={"end": "well"},
        compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/out"),
    )  # fmt: skip
    trainer.train(input_data_config=[InputData(channel_name="train", data_source=f"s3://{bucket}/sdk/")])
    job = trainer._latest_training_job
    check(job.training_job_status, "Completed")
    check(job.model_artifacts.s3_model_artifacts.startswith(f"s3://{bucket}/out/"), True)


@call
def training_jobs() -> None:
    """List the jobs and describe the newest."""
    (job,) = resources.TrainingJob.get_all(name_contains="sdk")
    check(resources.TrainingJob.get(job.training_job_name).training_job_status, "Completed")


@call
def process() -> None:
    """Run a processing job to its end, with its output in S3."""
    session = Session()
    output = shapes.ProcessingOutput(
        output_name="result",
        s3_output=shapes.ProcessingS3Output(
            s3_uri=f"s3://{session.default_bucket()}/processed", local_path="/opt/ml/processing/output",
            s3_upload_mode="EndOfJob",
        ),
    )  # fmt: skip
    processor = Processor(
        role=ROLE, image_uri=IMAGE, instance_count=1, instance_type="ml.m5.large", base_job_name="sdk",
        entrypoint=["python3", GIVEN["script"]], sagemaker_session=session,
    )  # fmt: skip
    processor.run(outputs=[output])
    check(processor.latest_job.refresh().processing_job_status, "Completed")


@call
def model() -> None:
    """Make a model of model data and image."""
    container = shapes.ContainerDefinition(image=IMAGE, model_data_url=MODEL)
    found = resources.Model.create(model_name="sdk", primary_container=container, execution_role_arn=ROLE)
    check(found.primary_container.model_data_url, MODEL)


@call
def endpoint_config() -> None:
    """Make an endpoint config with a tag."""
    resources.EndpointConfig.create(
        endpoint_config_name="sdk",
        production_variants=[shapes.ProductionVariant(**VARIANT)],
        tags=[{"key": "team", "value": "pricing"}],
    )


@call
def endpoint() -> None:
    """Make an endpoint and wait until it is in service."""
    resources.Endpoint.create(endpoint_name="sdk", endpoint_config_name="sdk").wait_for_status("InService")
    check([found.endpoint_name for found in resources.Endpoint.get_all(name_contains="sdk")], ["sdk"])


@call
def invoke() -> None:
    """Call the endpoint."""
    answer = resources.Endpoint.get("sdk").invoke(body=b"a,b", content_type="text/csv")
    check((answer.body.read(), answer.invoked_production_variant), (b"A,B", "AllTraffic"))


@call
def update_endpoint() -> None:
    """Update the endpoint to another config and wait until it is in service."""
    resources.EndpointConfig.create(
        endpoint_config_name="sdk-two", production_variants=[shapes.ProductionVariant(**VARIANT)]
    )
    found = resources.Endpoint.get("sdk")
    found.endpoint_config_name = "sdk-two"
    found.update()
    found.wait_for_status("InService")
    check(resources.Endpoint.get("sdk").endpoint_config_name, "sdk-two")


@call
def tags() -> None:
    """Tag the endpoint, list the tags and remove one."""
    arn = resources.Endpoint.get("sdk").endpoint_arn
    pairs = [shapes.Tag(key="owner", value="ada"), shapes.Tag(key="stage", value="test")]
    resources.Tag.add_tags(resource_arn=arn, tags=pairs)
    check({tag.key: tag.value for tag in resources.Tag.get_all(arn)}, {"owner": "ada", "stage": "test"})
    resources.Tag.delete_tags(resource_arn=arn, tag_keys=["stage"])
    check([tag.key for tag in resources.Tag.get_all(arn)], ["owner"])


@call
def register() -> None:
    """Make a package group and register a version with pending approval."""
    resources.ModelPackageGroup.create(model_package_group_name="sdk", model_package_group_description="of the SDK")
    # this SDK's shape has only containers: a shape of model cards with the same name hides the one with content types
    specification = shapes.InferenceSpecification(containers=[{"image": IMAGE, "model_data_url": MODEL}])
    package = resources.ModelPackage.create(
        model_package_group_name="sdk",
        inference_specification=specification,
        model_approval_status="PendingManualApproval",
    )
    check(package.model_package_status, "Completed")


@call
def approve() -> None:
    """Approve the version; the list shows the approval."""
    (package,) = resources.ModelPackage.get_all(model_package_group_name="sdk")
    package.refresh()
    package.update(model_approval_status="Approved", approval_description="by hand")
    (listed,) = resources.ModelPackage.get_all(model_package_group_name="sdk", model_approval_status="Approved")
    check(listed.refresh().approval_description, "by hand")


@call
def model_builder() -> None:
    """Build and deploy with ModelBuilder, call, and delete endpoint and model."""
    builder = ModelBuilder(
        image_uri=IMAGE,
        s3_model_data_url=MODEL,
        role_arn=ROLE,
        sagemaker_session=Session(),
        instance_type="ml.m5.large",
    )
    built = builder.build(model_name="sdk-built")
    deployed = builder.deploy(endpoint_name="sdk-built", initial_instance_count=1, instance_type="ml.m5.large")
    check(deployed.invoke(body=b"x", content_type="text/csv").body.read(), b"X")
    deployed.delete()
    deployed.wait_for_delete()
    built.delete()


@call
def builder_registers() -> None:
    """Register a built model with its content types, and read them from the version."""
    builder = ModelBuilder(
        image_uri=IMAGE,
        s3_model_data_url=MODEL,
        role_arn=ROLE,
        sagemaker_session=Session(),
        instance_type="ml.m5.large",
    )
    builder.build(model_name="sdk-registered")
    builder.register(
        model_package_group_name="sdk-builder", content_types=["text/csv"], response_types=["text/csv"],
        inference_instances=["ml.m5.large"], approval_status="Approved",
    )  # fmt: skip
    (package,) = resources.ModelPackage.get_all(model_package_group_name="sdk-builder")
    check(package.refresh().model_approval_status, "Approved")


@call
def delete_endpoint() -> None:
    """Delete endpoint, configs and model, and wait for the deletion."""
    found = resources.Endpoint.get("sdk")
    found.delete()
    found.wait_for_delete()
    for name in ("sdk", "sdk-two"):
        resources.EndpointConfig.get(name).delete()
    resources.Model.get("sdk").delete()
    check(list(resources.Endpoint.get_all(name_contains="sdk")), [])


def refused() -> dict[str, Callable[[], object]]:
    """Return calls of unsupported operations, by operation."""
    definitions = [
        shapes.FeatureDefinition(feature_name=name, feature_type=kind)
        for name, kind in (("id", "String"), ("at", "Fractional"))
    ]
    return {
        "CreateFeatureGroup": lambda: resources.FeatureGroup.create(
            feature_group_name="sdk", record_identifier_feature_name="id", event_time_feature_name="at",
            feature_definitions=definitions,
        ),
        "CreatePipeline": lambda: resources.Pipeline.create(
            pipeline_name="sdk", client_request_token="0" * 32, role_arn=ROLE, pipeline_definition="{}"
        ),
        "ListInferenceComponents": lambda: list(resources.InferenceComponent.get_all()),
        "ListHyperParameterTuningJobs": lambda: list(resources.HyperParameterTuningJob.get_all()),
        "ListModelCards": lambda: list(resources.ModelCard.get_all()),
        "Search": lambda: Session().sagemaker_client.search(Resource="TrainingJob"),
    }  # fmt: skip


def outcome(name: str, function: Callable[[], object]) -> dict[str, str]:
    """Make a call and return its result."""
    try:
        function()
    except Exception as error:
        return {"call": name, "error": f"{type(error).__name__}: {error}"}
    return {"call": name}


def main() -> None:
    """Make the calls in order, then the rejected ones; the SDK prints too, and not always whole lines."""
    for name, function in {**CALLS, **refused()}.items():
        sys.stdout.write(f"\n{json.dumps(outcome(name, function))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
