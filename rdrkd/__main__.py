"""`python -m rdrkd` is `rdrkd`."""

from rdrkd.cli.main import main

if __name__ == "__main__":
    main()
