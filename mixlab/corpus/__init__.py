"""The corpus: text -> domains -> token shards and their inventory.

Here lie the results that others open: tokenizer, shards, inventory. `read` takes files apart, `clean` has the steps,
`prepare` makes the shards; `learn`, `signals` and `classify` say what text is about and how good it is.
Comes in: a study's settings and its text.
"""
