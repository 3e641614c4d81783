"""What gunicorn serves."""

from . import settings
from .app import create_app
from .sandbox import Sandbox
from .table import Table

app = create_app(Sandbox(settings.SANDBOX), Table(settings.MAX_GAMES))
