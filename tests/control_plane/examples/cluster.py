"""Two nodes that add up their ranks with gloo."""

import modal
import modal.experimental

app = modal.App("cluster")


@app.function(gpu="H100:8", timeout=120)
@modal.experimental.clustered(size=2)
def add() -> float:
    import torch
    from torch import distributed

    info = modal.experimental.get_cluster_info()
    address = f"tcp://{info.container_ipv4_ips[0]}:29512"
    distributed.init_process_group("gloo", init_method=address, rank=info.rank, world_size=2)
    mine = torch.tensor([info.rank + 1.0])
    distributed.all_reduce(mine)
    distributed.destroy_process_group()
    return mine.item()


@app.local_entrypoint()
def main() -> None:
    print("sum of all ranks:", add.remote())
