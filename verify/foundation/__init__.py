"""What everything else stands on, and what knows nothing of models or claims: text, plain values, spelling."""
