"""The egress proxy: nothing that runs on the embedded cloud, or in a shell with its environment, reaches AWS.

Settings such as ``AWS_ENDPOINT_URL`` are advisory: a client that names its endpoint itself ignores them. The environment of the
embedded cloud therefore also sets a proxy, which terminates requests to AWS's hosts and forwards all others.
"""
