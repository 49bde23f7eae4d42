"""The real llama.cpp server as test material: models that play back a script, and the server that serves them."""
