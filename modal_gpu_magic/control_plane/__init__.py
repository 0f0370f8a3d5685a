"""A local, Modal-compatible control plane: a separate program, `python -m modal_gpu_magic.control_plane`.

The unmodified Modal SDK connects over a Unix socket, as a client and inside the containers, which are child processes
on this machine. No other package imports this one. It imports only `errors`, `catalog` and `line`.

  __main__      entry point: starts the fork server of containers, then the server; running: serve the owner, a command,
                or the kernels and commands of a user (lasting)
  lasting/      the server that outlives kernels: its directory and lock, how it is found or started
  server        assembles the parts
  messages      protobuf messages for any version of the SDK
  refusals      errors that refuse an RPC
  fields        checks of request fields
  servicers/    RPCs, one file per resource; definitions: limits of functions, and their options; deployments: apps
                by name
  scheduling/   state (apps, calls, containers; no I/O), capacity (decisions), scheduler (carries them out), gpu_pool
  containers/   child processes: lifecycle (start, logs, end, metering), fork_server (starts them), setup
                (files, variables and mounts of a container), server_dirs (the server's directories)
  images/       layers (instructions of an image), installs, overlays (packages), environment
  files/        tree (files of a Volume), parts (uploads), loopback (HTTP)
  rpc/          listener (gRPC), credentials (of the client and of containers), incoming (lengths), answers (errors as
                statuses), odd_headers, tokens (of inputs)
"""
