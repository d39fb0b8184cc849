"""mixlab: scaling-law data-mix optimization. The nouns, the corpus, the run table, the laws and the search."""

__version__ = "0.1.0"
