"""Side-by-side measurements of the functions; never part of the test run."""
