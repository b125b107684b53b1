"""The app: ``mlops deploy --app "python -m examples.container_model.app"``."""

import aws_cdk as cdk

from examples.container_model.stack import Vendor
from mlops_constructs import ModelImage, Profile

app = cdk.App()
# 64 zeros mean the code on this machine; in an account: mlops image push, mlops image digest
runtime = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
Vendor(app, "Vendor", runtime=runtime, profile=Profile.DEVELOPMENT, timestamp="day")
app.synth()
