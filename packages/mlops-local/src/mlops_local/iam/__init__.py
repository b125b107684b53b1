"""IAM of the embedded cloud: who may do what, whose signature a request carries, and which roles services assume."""
