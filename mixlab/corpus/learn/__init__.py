"""What classification and signals learn from text with: features, linear models, clusters, embeddings, and models on
disk.
"""
