"""From the files of a repository to a model in memory, and nothing else read."""
