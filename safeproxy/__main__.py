"""``python -m safeproxy``: the same as the command ``safeproxy``."""

from safeproxy.cli import main

if __name__ == "__main__":
    main()
