"""The state of a process beside its variables: random generators, environment, options of libraries."""
