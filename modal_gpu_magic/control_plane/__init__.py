"""Another program: a local, Modal-compatible control plane, started with `python -m modal_gpu_magic.control_plane`.

The unmodified Modal SDK talks to it over a Unix socket, as client and from inside the containers, which are child
processes on this machine. Nobody imports this package; it reads `errors`, `catalog` and `line` and nothing above them.

  __main__      the entry: standby first, then what is slow to import; running serves the owner, or runs a command
  server        puts the parts together
  messages      protobuf messages for whatever SDK is installed; refusals are ways to refuse an RPC
  servicers/    one file per resource of the API; definitions: what a function may ask for, and how options change it
  scheduling/   state (apps, calls, containers; no I/O), capacity (decisions), scheduler (acts on them), gpu_pool
  containers/   lifecycle (start, logs, kill ladder, meter) of child processes, one kept warm by standby; setup lays out
                what a container finds below its root; server_dirs is where the server lives on disk
  images/       layers (what the lines of an image mean here), installs, overlays (packages), environment
  files/        tree (the files of a Volume from outside), parts (those on their way in), loopback (HTTP)
  rpc/          listener (gRPC in, refusals out), tokens
"""
