"""What the fuzz tests share, and a harness for atheris that is run by hand."""
