"""The service: play a game, and say how all is."""

import base64
from datetime import datetime, timezone

from flask import Flask, jsonify, request

from . import settings
from .machine import system
from .sandbox import Full, Refused, Sandbox, Unavailable
from .table import Table


def create_app(sandbox, table):
    """The application."""
    app = Flask(__name__)
    # A program in JSON: every character may be written as six.
    app.config["MAX_CONTENT_LENGTH"] = 6 * settings.CODE_LIMIT + 1024

    @app.post("/api/games")
    def play():
        asked = request.get_json()
        code = asked.get("code") if isinstance(asked, dict) else None
        if not isinstance(code, str) or not code.strip():
            raise Refused("`code` is missing: the program's text")
        if len(code.encode("utf-8", "surrogatepass")) > settings.CODE_LIMIT:
            raise Refused(f"a program has at most {settings.CODE_LIMIT} bytes")
        with table.seat() as identity:
            told = sandbox.run(identity, code, settings.GAME_SECONDS)
        return {
            "id": identity,
            "ended": ended(told),
            "exit_code": told["exit_code"],
            "stdout": told["stdout"]["text"],
            "stderr": told["stderr"]["text"],
            "truncated": told["stdout"]["truncated"] or told["stderr"]["truncated"],
            "milliseconds": told["wall_ms"],
            "memory": told["peak_memory_bytes"],
            "score": score(told),
        }

    @app.get("/api/health")
    def health():
        found = checks(sandbox)
        sessions = table.sessions()
        healthy = found["sandbox_available"] and found["executor_image"]
        document = {
            "status": "healthy" if healthy else "unhealthy",
            "service": "flask",
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "environment": settings.ENVIRONMENT,
            "system": system(),
            "game_sessions": {"active_count": len(sessions), "max_allowed": table.seats, "sessions": sessions},
            "checks": found,
        }
        return document, 200 if healthy else 503

    @app.errorhandler(Full)
    def full(error):
        return jsonify(error=str(error)), 429, {"Retry-After": "1"}

    @app.errorhandler(Refused)
    def refused(error):
        return jsonify(error=str(error)), 400

    @app.errorhandler(Unavailable)
    def unavailable(error):
        app.logger.error("%s", error)
        return jsonify(error=str(error)), 503

    @app.errorhandler(400)
    @app.errorhandler(404)
    @app.errorhandler(405)
    @app.errorhandler(413)
    @app.errorhandler(415)
    @app.errorhandler(500)
    def http_error(error):
        return jsonify(error=error.name), error.code

    return app


def checks(sandbox):
    """Whether games can be run."""
    try:
        told = sandbox.health()
    except Unavailable:
        told = {}
    found = told.get("checks", {})
    image = found.get("image", {}).get("ok") is True
    # Without its image the service is there, and well but for that.
    others = all(check.get("ok") is True for name, check in found.items() if name not in ("image", "limits"))
    return {
        "sandbox_available": bool(found) and others,
        "executor_image": image,
        # There is no other way to run a game here than in a container.
        "force_docker_mode": True,
    }


def ended(told):
    """How the game ended, in a word or two."""
    if told["timed_out"]:
        return "its time was over"
    if told["out_of_memory"]:
        return "out of memory"
    if told["signal"]:
        return told["signal"]
    return "done" if told["exit_code"] == 0 else f"exit code {told['exit_code']}"


def score(told):
    """What the game's module `game` wrote, if it is a number that the database can keep."""
    try:
        points = int(base64.b64decode(told["output"]["score"])[:32])
    except (KeyError, ValueError):
        return None
    return points if abs(points) < 2**31 else None
