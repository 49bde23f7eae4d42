"""The loop and what it talks to: conversation, backends, limits, approval, the work on a repository."""
