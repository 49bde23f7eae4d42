"""The commands, one module each. They import what is heavy only once they run, so that `--help` is instant."""
