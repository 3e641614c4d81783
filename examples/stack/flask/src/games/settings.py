"""What the environment says."""

import os

#: The sandbox service's socket.
SANDBOX = os.environ.get("INGOT_SANDBOX", "/run/ingot/sandbox.sock")
#: "development" or "production".
ENVIRONMENT = os.environ.get("FLASK_ENV", "development")
#: How many games run at once.
MAX_GAMES = int(os.environ.get("MAX_GAMES", "5"))
#: How long a game may run; the sandbox service may allow less.
GAME_SECONDS = int(os.environ.get("GAME_SECONDS", "10"))
#: The longest program, in bytes.
CODE_LIMIT = 64 * 1024
