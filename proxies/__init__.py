"""The small models and their training; the only package that imports torch."""
