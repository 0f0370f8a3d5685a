"""gRPC in: who asks, which servicer answers, and the tokens of inputs."""
