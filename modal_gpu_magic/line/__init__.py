"""The grammar of the magic: parses a line and a cell's header into frozen values, or raises LineError with a position.

Standard library only; imports `catalog` and `errors`. The floors `plan` and `session` decide what to do with a line.
"""
