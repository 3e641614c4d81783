"""How gunicorn serves: one process, which knows all games; threads for those who wait, are turned away, or ask for health."""

import sys

from . import settings
from .sandbox import Sandbox, Unavailable

bind = "0.0.0.0:5000"
workers = 1
worker_class = "gthread"
threads = settings.MAX_GAMES + 11
# Longer than the gateway keeps a connection that nobody uses.
keepalive = 75
timeout = 60
graceful_timeout = settings.GAME_SECONDS + 5
worker_tmp_dir = "/dev/shm"
# Nobody manages it from within its container, whose root is read-only.
control_socket_disable = True


def on_starting(server):
    """Without an executor there is nothing to serve: better a clear end than a service that refuses everything."""
    try:
        told = Sandbox(settings.SANDBOX).health()
    except Unavailable as error:
        sys.exit(f"games: {error}")
    image = told.get("checks", {}).get("image", {})
    if image.get("ok") is not True:
        sys.exit(f"games: the executor image is missing: {image.get('detail', 'the sandbox service names none')}")
