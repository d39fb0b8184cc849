"""The backend of a process: its device, engine and precision, how many runs it trains at a time, and how fast."""
