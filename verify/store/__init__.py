"""What is kept on disk: run folders, predictions, records, seals and locks."""
