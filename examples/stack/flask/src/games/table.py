"""The games that run: so many at once, everybody else is turned away."""

import threading
import time
import uuid
from contextlib import contextmanager

from .sandbox import Full


class Table:
    """Seats for games."""

    def __init__(self, seats):
        self.seats = seats
        self._lock = threading.Lock()
        self._since = {}

    @contextmanager
    def seat(self):
        """A seat for one game, with the game's id; `Full` if there is none."""
        identity = uuid.uuid4().hex
        with self._lock:
            if len(self._since) >= self.seats:
                raise Full(f"{self.seats} games are running: try again")
            self._since[identity] = time.monotonic()
        try:
            yield identity
        finally:
            with self._lock:
                del self._since[identity]

    def sessions(self):
        """The games that run, and for how long."""
        now = time.monotonic()
        with self._lock:
            return [{"id": identity, "seconds": round(now - since, 1)} for identity, since in self._since.items()]
