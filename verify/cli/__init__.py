"""One module per verb of the command line: each connects the rooms for one purpose."""
