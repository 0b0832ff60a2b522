"""What the words of a card mean: whose number, which metric, which data, and what belongs together."""
