"""Ways to run a model: the catalog, the contract, one adapter a file."""
