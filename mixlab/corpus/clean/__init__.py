"""Cleaning: what is taken out of the text, or changed in it, before it is split and tokenised."""
