"""Where and when work happens: sandboxes on this machine and in Docker, images, the engine."""
