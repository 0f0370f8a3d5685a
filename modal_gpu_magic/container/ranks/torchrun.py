"""Run torchrun: `python -m modal_gpu_magic.container.ranks.torchrun REPORT ARGUMENTS...`.

PyTorch's own program (`torch.distributed.run`) sets up the ranks and ends all of them when one dies. This module adds
two things: it writes how the first rank died to the file REPORT, and it ends when its parent ends (stdin closes).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path


def main() -> None:
    """Run the ranks; exit with status 1 if a rank failed."""
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
    os._exit(1)  # the ranks notice on their own sockets that the parent has ended


if __name__ == "__main__":
    main()
