"""The processes of this machine that do the work of a sweep."""
