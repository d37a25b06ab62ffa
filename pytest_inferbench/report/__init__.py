"""What people and machines read: terminal, JSON, JUnit."""
