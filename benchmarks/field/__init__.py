"""What the programs that compare servers share."""
