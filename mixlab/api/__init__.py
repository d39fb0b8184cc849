"""What `import mixlab` offers: each function takes what people have (paths, frames, dicts, "1e21") and calls the rooms.

Comes in: a user's own values. Goes out: results that show themselves (`mixlab.shown`). The command line is a thin layer
over this folder, and over `analysis` and `sweeps`, which the face names in `mixlab/__init__.py`.
"""
