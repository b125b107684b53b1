"""CloudFormation of the embedded cloud: resource types, order, names, failures, and the deployer of cloud assemblies."""
