"""One module per contestant: how its manual has it do what a scenario asks, with its defaults where none are given.

An ability is a function of the world that makes a call: `limited` waits at a known limit, `retrying` has the library's
own retries, `budgeted` a cap, `cached` a cache, `guarded` a breaker; `streamed` reads a stream to its end. `acquire` is
a limiter alone.
"""
