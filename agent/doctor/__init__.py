"""Examines a backend: whether it does what an agent needs, and above all, whether the model keeps its thinking.

`examination.examine` runs the checks of `checks/`, one after another, against a `Patient`. What a server does wrong is
a finding and never an exception.
"""
