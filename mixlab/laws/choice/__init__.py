"""Which laws a table can carry, how well each predicts rows that it has not seen, and what is blended."""
