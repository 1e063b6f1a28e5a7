"""The filter and its detectors: text in, decisions out. Pure."""
