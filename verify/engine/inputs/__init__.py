"""From a row of data to what a model reads: texts, words, windows, recordings, pictures."""
