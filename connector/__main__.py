"""`python -m connector` is the same program as `connector`."""

from connector.cli import main

if __name__ == "__main__":
    main()
