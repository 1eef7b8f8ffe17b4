"""Speed of the baselines. `make bench` measures everything."""
