"""Images of jobs and servers: build context, registry, and a check that a registry has the images of a stack."""

# value in ``cdk.json`` before an image is built; only the embedded cloud can run it
PLACEHOLDER_DIGEST = "sha256:" + "0" * 64
