import sys
from pathlib import Path

# Not installed; behind all that is.
sys.path.append(str(Path(__file__).parents[2]))
