"""The benchmark: bench/run's parts."""
