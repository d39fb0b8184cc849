"""Which device, engine and precision a process trains with, how many runs at a time, and how fast."""
