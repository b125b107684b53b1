variable "unit" {
  description = "Name of the business unit."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.unit))
    error_message = "unit must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter."
  }
}

variable "endpoint" {
  description = "Name of the endpoint, such as demand-forecast."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$", var.endpoint))
    error_message = "endpoint must be 1 to 63 letters, digits or hyphens."
  }
}
