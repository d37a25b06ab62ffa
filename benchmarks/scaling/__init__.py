"""What `benchmarks/scale.py` is made of: simulated inputs, and the fit of a cost to a size."""
