"""Text to token shards: `run` prepares a study's corpus, `build` makes one, block by block in worker processes.

Comes in: a study's settings, rows of `read` and steps of `clean`. Comes out: shards, inventory.json, cleaning.json.
"""
