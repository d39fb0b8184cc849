"""Training runs on the tokens of a corpus: sampler, trunk and branches, evaluation, checkpoints."""
