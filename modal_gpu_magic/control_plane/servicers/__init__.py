"""The RPCs, one file for each resource.

A servicer's public CamelCase methods are RPCs: `(request, peer) -> reply`. `peer` is the container that asks, or None
for the client. A method that yields is a streaming RPC.
"""
