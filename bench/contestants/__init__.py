"""One module per contestant: what it takes to make the same call and read the same stream with that library."""
