"""Lines of figures, read back."""

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray


def x_of(line: Line2D) -> NDArray[np.float64]:
    """The x values of a line, (T,)."""
    return np.asarray(line.get_xdata(), dtype=float)


def y_of(line: Line2D) -> NDArray[np.float64]:
    """The y values of a line, (T,)."""
    return np.asarray(line.get_ydata(), dtype=float)
