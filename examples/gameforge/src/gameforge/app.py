"""The application and its routes."""

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import BadRequest

from . import __version__, checks, terrain
from .scores import Scores
from .settings import Settings

MAX_NAME = 32
MAX_POINTS = 10**9


def create_app(settings: Settings | None = None) -> Flask:
    """A new application; the settings come from the environment unless they are given."""
    settings = settings or Settings.from_environment()
    scores = Scores(settings.data)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 64 * 1024

    @app.get("/")
    def index() -> str:
        return render_template("index.html", best=scores.best(), version=__version__)

    @app.get("/health")
    def health() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/api/health")
    def api_health() -> tuple[Response, int]:
        found = checks.run(settings)
        good = checks.passed(found)
        body = {"status": "ok" if good else "failing", "version": __version__, "checks": found}
        return jsonify(body), 200 if good else 503

    @app.get("/api/terrain")
    def api_terrain() -> Response:
        seed = _number("seed", 1, range(2**32))
        size = _number("size", 128, terrain.SIZES)
        heights = terrain.height_map(seed, size)
        if request.args.get("format") == "json":
            return jsonify(seed=seed, **terrain.summary(heights))
        return Response(terrain.picture(heights), mimetype="image/png")

    @app.get("/api/scores")
    def api_scores() -> Response:
        return jsonify(scores.best())

    @app.post("/api/scores")
    def api_record() -> tuple[Response, int]:
        body = request.get_json()
        player, points = (body.get("player"), body.get("points")) if isinstance(body, dict) else (None, None)
        if not isinstance(player, str) or not 0 < len(player.strip()) <= MAX_NAME:
            raise BadRequest(f"player must be a name of at most {MAX_NAME} characters")
        if type(points) is not int or not 0 <= points <= MAX_POINTS:
            raise BadRequest(f"points must be a whole number from 0 to {MAX_POINTS}")
        scores.record(player.strip(), points)
        return jsonify(scores.best()), 201

    @app.errorhandler(BadRequest)
    def bad_request(error: BadRequest) -> tuple[Response, int]:
        return jsonify(error=error.description), 400

    return app


def _number(name: str, default: int, allowed: range) -> int:
    """A whole number of the query string."""
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12) or int(text) not in allowed:
        raise BadRequest(f"{name} must be a whole number from {allowed.start} to {allowed.stop - 1}")
    return int(text)
