"""`python -m pinchpoint`."""

import sys

from pinchpoint.cli import main

sys.exit(main())
