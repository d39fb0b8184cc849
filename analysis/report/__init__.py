"""The report: one self-contained HTML page about a study or a table of runs."""
