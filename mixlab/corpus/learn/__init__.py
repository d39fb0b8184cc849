"""Models that learn from text: features, a calibrated linear classifier, clusters, embeddings, and classifiers on disk.

Comes in: texts, with labels or vectors. How text is read and what its topics are used for is not known here.
"""
