"""IAM of the embedded cloud: authorization of requests, verification of signatures, and service roles."""
