"""A small model trained with DistributedDataParallel, as torchrun starts it: one process a rank."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    device = (
        torch.device("cuda", rank % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")
    )
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(4, 1).to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    inputs = torch.randn(64, 4, device=device)[rank::world]  # every rank has its share of the same batch
    targets = inputs.sum(dim=1, keepdim=True)
    for _ in range(40):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # No collective on a tensor of Python comes last: a thread of gloo may still hold the tensor when Python ends.
    if rank == 0:
        print(f"{world} ranks, loss below 0.001: {loss.item() < 0.001}", flush=True)
    dist.destroy_process_group()
    os._exit(0)  # a thread of torch 2.13 that ends with Python may abort the process, after all of the above


if __name__ == "__main__":
    main()
