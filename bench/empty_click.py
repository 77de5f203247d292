"""The least that is a click program: what any command line over click pays before it does something."""

import click


@click.group()
def program() -> None:
    """Do nothing."""


if __name__ == "__main__":
    program()
