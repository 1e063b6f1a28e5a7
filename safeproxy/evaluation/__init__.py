"""Measures a rule set on labelled texts: how much it finds, how much of that is right, and how sure that is."""
