"""Reference: Multi-GPU Training, Multi-Node Clusters.

Differs: `modal.clustered`, which was `modal.experimental.clustered`; an app and an entrypoint; torch, the libraries of
RDMA and train.py are in the image; one process a node, of eight; a port that no other run on this machine has.
"""

import socket
from pathlib import Path

import modal
import modal.experimental

app = modal.App("cluster")
image = (
    modal.Image.debian_slim()
    .apt_install("libibverbs1")
    .pip_install("torch")
    .add_local_file(Path(__file__).with_name("train.py"), "/root/train.py")
)


@app.function(gpu="H100:8", timeout=86400, image=image)
@modal.clustered(size=4, rdma=True)  # 4 nodes × 8 GPUs = 32 GPUs
def train_distributed(port: int) -> list[str]:
    cluster_info = modal.experimental.get_cluster_info()

    from torch.distributed.run import parse_args, run

    run(
        parse_args(
            [
                f"--nnodes={4}",
                f"--node-rank={cluster_info.rank}",
                f"--master-addr={cluster_info.container_ips[0]}",
                "--nproc-per-node=1",
                f"--master-port={port}",
                "train.py",
            ]
        )
    )
    return cluster_info.container_ips


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


@app.local_entrypoint()
def main() -> None:
    print("nodes:", len(set(train_distributed.remote(free_port()))))
