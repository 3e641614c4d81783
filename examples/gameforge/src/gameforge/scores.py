"""The score table: one SQLite file in the data folder."""

import sqlite3
from contextlib import closing
from pathlib import Path

TABLE = "CREATE TABLE IF NOT EXISTS scores (player TEXT PRIMARY KEY, points INTEGER NOT NULL)"
KEEP_BEST = (
    "INSERT INTO scores (player, points) VALUES (?, ?) "
    "ON CONFLICT (player) DO UPDATE SET points = max(points, excluded.points)"
)


class Scores:
    """The best score of each player."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "scores.sqlite3"

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=5)
        connection.execute(TABLE)
        return connection

    def record(self, player: str, points: int) -> None:
        with closing(self._open()) as connection, connection:
            connection.execute(KEEP_BEST, (player, points))

    def best(self, count: int = 10) -> list[dict]:
        with closing(self._open()) as connection:
            rows = connection.execute(
                "SELECT player, points FROM scores ORDER BY points DESC, player LIMIT ?", (count,)
            )
            return [{"player": player, "points": points} for player, points in rows]
