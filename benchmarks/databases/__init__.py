"""The databases and emulators that the benchmarks start, and the results that they fill them with."""
