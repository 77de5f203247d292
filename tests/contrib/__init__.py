"""What stands in contrib/, against the programs that it is for."""
