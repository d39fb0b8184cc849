"""The command line, a file per command: it parses, calls what `mixlab` offers in Python, and shows. No logic lives here
alone.
"""
