"""What sessions have cost over days: the ledger on disk, sums over it, the account's rates."""
