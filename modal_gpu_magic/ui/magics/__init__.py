"""The magics: they parse a line, call a session, and print what came of it."""
