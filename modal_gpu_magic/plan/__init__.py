"""DECISIONS before anything is sent: the machine, the names a cell reads and binds, requirements, the quote. Pure."""
