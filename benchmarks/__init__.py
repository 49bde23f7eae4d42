"""Benchmarks of the harness, side by side with peers: `python -m benchmarks` lists them.

Each module says in its docstring what is measured, from where to where, and what is subtracted. A figure is only
as good as the machine is quiet, so the load average stands next to it. `RESULTS.md` has the newest figures.
"""
