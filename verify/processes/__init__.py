"""How processes of ours are started, what they may import, and how they end."""
