"""`python -m penstock`: the command line, where the `penstock` script is not on the path."""

from .cli import main

main()
