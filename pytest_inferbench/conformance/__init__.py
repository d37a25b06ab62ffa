"""What every backend owes, asked of it: probes to run, and examinations inside the worker."""
