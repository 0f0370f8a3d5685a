"""Another program: a local, Modal-compatible control plane, started with `python -m modal_gpu_magic.control_plane`.

The unmodified Modal SDK talks to it over a Unix socket, as client and from inside the containers, which are child
processes on this machine. Nobody imports this package; it reads `errors`, `catalog` and `line` and nothing above them.

  __main__      the entry: standby first, then what is slow to import; running serves the owner, or runs a command
  server        puts the parts together; premises is where it lives on disk
  state         what there is: apps, functions, calls, inputs, containers. No I/O
  capacity      decisions about containers as pure functions; scheduler acts on them
  definitions   what a function may ask for, and how options change it
  containers    child processes: start, logs, kill ladder, meter. child is one of them, standby keeps one warm
  furnish       what a container finds: world (its directory), links (absolute paths), overlays (packages), gpus
  layers        what the lines of an image mean here; installs those that are `pip install`
  clusters      which clusters Modal takes
  listener      gRPC in; refusals out. loopback is HTTP, for what the SDK sends no other way
  tree          the files of a volume from outside; parts are those on their way in
  servicers/    one file per resource of the API
  shim          first code of a container; smi_program the simulated nvidia-smi. Both run alone, standard library only
"""
