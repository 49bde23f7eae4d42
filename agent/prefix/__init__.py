"""Checks that a server's prefix cache can hit: what a model wrote has to be what the next prompt says that it wrote.

`renderers` and `servers` show the prompt that a model reads; `exchanges` rebuilds the requests of a trajectory;
`audit` renders them one after the other, and names the first message in which a prompt leaves the one before it, and
the cause.
"""
