"""`python -m grokbench`: the command line."""

from grokbench.cli import main

if __name__ == "__main__":
    main()
