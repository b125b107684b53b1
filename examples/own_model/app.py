"""The app: ``mlops deploy --app "python -m examples.own_model.app"``."""

import aws_cdk as cdk

from examples.own_model.stack import Clinic

app = cdk.App()
Clinic(app, "Clinic")
app.synth()
