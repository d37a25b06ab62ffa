"""What a folder holds, and the first settings that are written for it."""
