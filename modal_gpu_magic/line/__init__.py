"""The grammar: what a line and a cell's header mean, as frozen values or a LineError with a position.

Standard library only; reads `catalog` and `errors`. What to do with a line is decided above, in `plan` and `session`.
"""
