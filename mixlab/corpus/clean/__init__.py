"""Cleaning: what is taken out of the text, or changed in it, before it is split and tokenised.

Each step is a `Step` in a file of its own, and `cleaner` applies them in order. Comes in: texts, and the `cleaning`
section of study.yaml.
"""
