"""What is measured: benchmarks, the trials of a run, and the verifiers that judge them."""
