"""`python -m connector.simulate`."""

import sys

from connector.simulate import main

if __name__ == "__main__":
    sys.exit(main())
