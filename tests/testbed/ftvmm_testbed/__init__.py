"""The ftvmm testbed: real hosts, networks and shared storage on one machine.  See docs/testbed.md."""
