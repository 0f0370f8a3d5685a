"""torchrun, as a program of ours: `python -m modal_gpu_magic.container.ranks.torchrun REPORT ARGUMENTS...`.

PyTorch's own (`torch.distributed.run`) sets the ranks up and ends them all when one dies. What is ours: how the first
one died is written to the file REPORT, and nothing goes on when whoever started this is gone (its end of stdin closes).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path


def main() -> None:
    """Run the ranks; exits with 1 if one failed."""
    threading.Thread(target=_watch_parent, daemon=True).start()
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    report, *arguments = sys.argv[1:]
    try:
        run.run(run.parse_args(arguments))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        Path(report).write_text(json.dumps({"rank": rank, "exitcode": failure.exitcode}), encoding="utf-8")
        sys.exit(1)


def _watch_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)  # the ranks see it by their own sockets


if __name__ == "__main__":
    main()
