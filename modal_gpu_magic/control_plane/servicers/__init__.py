"""The RPCs, one file per resource.

A servicer's public CamelCase methods are RPCs: `(request, peer) -> reply`. `peer` is the calling container, or None for
the client. A method that yields is a streaming RPC.
"""
