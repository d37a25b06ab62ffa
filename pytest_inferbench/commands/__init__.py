"""The verbs of `inferbench`, one a file: each adds its arguments and prints what the parts find."""
