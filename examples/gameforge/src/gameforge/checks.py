"""What `/api/health` looks at."""

import importlib
import tempfile
from pathlib import Path

from .settings import Settings


def run(settings: Settings) -> dict:
    """Every check by its name: "ok", or what is wrong."""
    return {
        "data": _writable(settings.data),
        "environment": settings.environment,
        "numpy": _imports("numpy"),
        "pillow": _imports("PIL._imaging"),
    }


def passed(checks: dict) -> bool:
    """Whether the service can do its work."""
    return all(checks[name] == "ok" for name in ("data", "numpy", "pillow"))


def _writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return "ok"
    except OSError as error:
        return f"not writable: {error.strerror}"


def _imports(module: str) -> str:
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"does not load: {error}"
    return "ok"
