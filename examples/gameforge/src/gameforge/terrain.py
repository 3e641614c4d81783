"""Height maps: the same seed and size give the same picture on every machine."""

import io

import numpy as np
from PIL import Image

SIZES = range(16, 1025)
OCTAVES = 5
SEA_LEVEL = 0.45

# Height at which a colour begins, and the colour.
PALETTE = (
    (0.00, (12, 44, 92)),
    (0.30, (28, 92, 156)),
    (SEA_LEVEL, (226, 206, 140)),
    (0.50, (86, 152, 72)),
    (0.68, (48, 104, 52)),
    (0.80, (120, 112, 104)),
    (0.92, (246, 246, 250)),
)


def height_map(seed: int, size: int) -> np.ndarray:
    """Value noise in several octaves, scaled to 0..1."""
    noise = np.random.Generator(np.random.PCG64(seed))
    heights = np.zeros((size, size), dtype=np.float64)
    for octave in range(OCTAVES):
        cells = 2 ** (octave + 2)
        heights += _smooth(noise.random((cells + 1, cells + 1)), size) / 2**octave
    low, high = heights.min(), heights.max()
    return (heights - low) / (high - low)


def _smooth(lattice: np.ndarray, size: int) -> np.ndarray:
    """The lattice's values, interpolated to size x size points."""
    cells = lattice.shape[0] - 1
    at = np.linspace(0, cells, size, endpoint=False)
    whole = at.astype(int)
    part = at - whole
    part = part * part * (3 - 2 * part)
    top = lattice[whole]
    rows = top + (lattice[whole + 1] - top) * part[:, None]
    left = rows[:, whole]
    return left + (rows[:, whole + 1] - left) * part[None, :]


def picture(heights: np.ndarray) -> bytes:
    """The map as a PNG."""
    floors = np.array([floor for floor, _ in PALETTE])
    colours = np.array([colour for _, colour in PALETTE], dtype=np.uint8)
    pixels = colours[np.searchsorted(floors, heights, side="right") - 1]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def summary(heights: np.ndarray) -> dict:
    """Numbers about the map."""
    return {
        "size": int(heights.shape[0]),
        "land": round(float((heights >= SEA_LEVEL).mean()), 4),
        "mean": round(float(heights.mean()), 4),
    }
