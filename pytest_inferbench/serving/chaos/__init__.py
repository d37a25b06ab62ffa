"""What a server owes its callers while things go wrong around it: questions, and what was seen."""
