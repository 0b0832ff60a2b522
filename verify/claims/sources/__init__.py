"""The places where a repository claims numbers: metadata, tables, lists, prose, result files."""
