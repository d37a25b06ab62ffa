"""What `benchmarks/load_client.py` compares, and the table it makes of it."""
