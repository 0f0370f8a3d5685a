"""Another program: a local, Modal-compatible control plane, started with `python -m modal_gpu_magic.control_plane`.

The unmodified Modal SDK talks to it over a Unix socket, as client and from inside the containers, which are child
processes on this machine. Nobody imports this package; it reads `errors`, `catalog` and `line` and nothing above them.

  __main__      the entry: standby first, then the server, one line of JSON on stdout
  server        puts the parts together; start and stop
  state         what there is: apps, functions, calls, inputs, containers. No I/O
  capacity      decisions about containers as pure functions; scheduler acts on them
  containers    child processes: start, logs, kill ladder, meter; standby keeps one warm
  furnish       what a container finds: world (its directory), links (absolute paths), overlays (packages), GPUs
  listener      gRPC in, errors out
  servicers/    one file per resource of the API
  shim          first code of a container; smi_program the simulated nvidia-smi. Both run alone, standard library only
"""
