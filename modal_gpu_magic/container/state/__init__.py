"""What a container keeps between the cells of its session: variables, files, modules, Volumes."""
