"""Repositories of models and data sets, on the Hub or in a folder: finding, fetching, pinning and inspecting them."""
