"""Facts about single values and about code: remote values, imports, attributes, the names that code uses."""
