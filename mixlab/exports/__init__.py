"""A recommended mixture in each trainer's own syntax. Comes in: a recommendation and where the data lies."""
