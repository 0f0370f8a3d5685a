"""The state of a process apart from its variables: random generators, environment, options of libraries."""
