"""Sources and destinations of copied files, and the check whether a copy is necessary."""
