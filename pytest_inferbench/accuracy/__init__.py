"""What outputs are worth: similarity to a reference, detection scores, and the data they need."""
