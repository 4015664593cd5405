"""The operations: one family a file. Everything about an operation stands in its declaration."""
