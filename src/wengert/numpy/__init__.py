"""NumPy's names, on plain arrays at NumPy's speed and on traced values in the graph."""

from .elementwise import *  # noqa: F403
from .indexing import *  # noqa: F403
from .reductions import *  # noqa: F403
from .cumulative import *  # noqa: F403
from .nan import *  # noqa: F403
from .sorting import *  # noqa: F403
