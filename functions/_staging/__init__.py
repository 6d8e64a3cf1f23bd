"""Which files a function needs, and laying them into one folder that runs alone."""
