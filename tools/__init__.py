"""What a model can do: tools, and the sandbox protocol that they act on."""
