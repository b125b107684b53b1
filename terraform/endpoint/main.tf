data "aws_ssm_parameter" "entry" {
  name = "/mlops/${var.unit}/endpoint/${var.endpoint}"

  lifecycle {
    postcondition {
      condition     = jsondecode(self.value).format == "mlops.endpoint-entry/1"
      error_message = "the endpoint's entry is not of version 1: take the module of the library's version."
    }
  }
}

locals {
  # names, no secrets: the provider marks every parameter's value as sensitive
  entry = jsondecode(nonsensitive(data.aws_ssm_parameter.entry.value))
}
