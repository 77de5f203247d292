"""Where policies keep what outlives the process."""
