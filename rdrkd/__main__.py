"""`python -m rdrkd` is `rdrkd`."""

from rdrkd.cli import main

if __name__ == "__main__":
    main()
