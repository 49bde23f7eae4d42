"""Dialects: how each server family spells reasoning, flags, usage and errors over the OpenAI protocol.

A dialect is data (`data/NAME.toml`, or a person's own file) and a choice from a closed list of named behaviours.
"""
