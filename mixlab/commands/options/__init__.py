"""What several commands share: options that they have in common, groups of them, and how a result is printed.

Comes in: what a user types, as click hands it over. Goes out: keywords of what `import mixlab` offers.
"""
