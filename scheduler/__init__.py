"""What runs when, and the command that asks for it."""
