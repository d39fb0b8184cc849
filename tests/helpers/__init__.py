"""What several test files share: planted laws, tables and texts, and specs that can be told to fail."""
