"""What a user may set: the schema, how files and command line compose, and where built-in files lie."""
