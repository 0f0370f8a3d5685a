"""The gRPC server: authentication, dispatch to servicers, and tokens of inputs."""
