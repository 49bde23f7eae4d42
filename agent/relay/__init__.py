"""The relay through which an agent that runs in a container asks the model: it holds the key, and keeps the ledger."""
