"""One run of a cell: from the request to the receipt."""
