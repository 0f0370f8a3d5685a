"""What is known of single values and of code: remote values, imports, attributes, the names that code uses."""
