"""What the environment says, read once, when the application is made."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The service's configuration."""

    environment: str
    data: Path
    port: int

    @classmethod
    def from_environment(cls) -> "Settings":
        return cls(
            environment=os.environ.get("GAMEFORGE_ENV", "development"),
            data=Path(os.environ.get("GAMEFORGE_DATA", "data")),
            port=int(os.environ.get("PORT", "8080")),
        )
