import sys

from wimhf._cli import main

sys.exit(main())
