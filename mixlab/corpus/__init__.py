"""The corpus: text -> domains -> token shards and their inventory."""
