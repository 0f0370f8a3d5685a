"""State of a container between the cells of its session: variables, files, modules, Volumes."""
