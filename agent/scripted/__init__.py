"""The scripted backend: a real OpenAI-compatible HTTP server that plays its replies from a YAML script.

It stands in for a model where none is at hand: in the demo, in tests, in benchmarks of the harness, in your own
scripts. It streams like llama-server and vLLM, counts tokens over the rendered prompt, reports a cached prefix as
a prefix-caching server would, and says everywhere that it is scripted. `docs/scripted-backend.md` has the format.

`script.load_script` reads a script, `server.serve` serves it for the length of an `async with`, and
`server.run_forever` until it is interrupted. Nothing is imported here, so that naming the package costs nothing.
"""
