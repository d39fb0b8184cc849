"""What a proxy is, whatever trains it: parameters, recipe, schedule, memory, and the contract of an engine."""
