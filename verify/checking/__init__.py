"""From a model to its verdicts, step by step: open, measure, judge, explain, record."""
