"""`python -m fastaimc`."""

from fastaimc.cli import main

if __name__ == "__main__":
    main()
