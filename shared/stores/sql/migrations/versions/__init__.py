"""The revisions, oldest first. One that was released never changes; what comes after is another."""
