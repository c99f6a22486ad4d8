"""`python -m fredbench` is the `fredbench` command."""

from fredbench.cli import main

if __name__ == "__main__":
    main()
