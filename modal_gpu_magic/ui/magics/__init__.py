"""The magics: parse a line, call a session or service, print the result."""
