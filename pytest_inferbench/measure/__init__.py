"""What is measured inside the worker: time, memory, and the machine they were taken on."""
