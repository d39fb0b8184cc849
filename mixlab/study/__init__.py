"""What a study.yaml says, and where the things of a study lie. Comes in: YAML and paths. Imports nothing of ours but
the nouns.
"""
