"""Flows: generators that say what a call does next without doing it."""
