"""`python -m mixlab`."""

from mixlab.cli import main

if __name__ == "__main__":
    main()
