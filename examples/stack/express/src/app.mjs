// The gateway's routes.

import { fileURLToPath } from "node:url";

import connectPgSimple from "connect-pg-simple";
import express from "express";
import session from "express-session";

import { best, keep, pool } from "./database.mjs";
import * as flask from "./flask.mjs";
import { Problem } from "./flask.mjs";
import { health, ready } from "./health.mjs";
import { settings } from "./settings.mjs";

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};
const DAY = 24 * 60 * 60 * 1000;

export const app = express();
app.disable("x-powered-by");
app.set("trust proxy", "loopback, uniquelocal");

app.use((request, response, next) => {
  response.set(HEADERS);
  next();
});
app.use(express.static(fileURLToPath(new URL("public", import.meta.url))));

const document = (examine) => async (request, response) => {
  const [status, body] = await examine();
  response.set("Cache-Control", "no-store").status(status).json(body);
};
app.get("/api/health", document(health));
app.get("/api/ready", document(ready));

const Store = connectPgSimple(session);
app.use(
  session({
    name: "session",
    secret: settings.sessionSecret,
    store: new Store({ pool, errorLog: (...words) => console.error("gateway: sessions:", ...words) }),
    resave: false,
    saveUninitialized: false,
    cookie: { httpOnly: true, sameSite: "strict", secure: "auto", maxAge: DAY },
  }),
);

app.get("/api/me", (request, response) => {
  response.json({ player: request.session.player ?? null, played: request.session.played ?? 0 });
});

app.get("/api/scores", async (request, response) => {
  response.json(await best());
});

// Only JSON is read: a form of another site can send none.
app.post("/api/games", express.json({ limit: "100kb" }), async (request, response) => {
  const { code, player } = request.body ?? {};
  if (typeof code !== "string") throw new Problem(400, "`code` is missing: the program's text");
  const name = named(player ?? request.session.player ?? "somebody");
  const { status, retryAfter, body } = await flask.play(code);
  if (retryAfter) response.set("Retry-After", retryAfter);
  if (status !== 200) return response.status(status).json(body);
  request.session.player = name;
  request.session.played = (request.session.played ?? 0) + 1;
  await keep(name, body);
  return response.json({ ...body, played: request.session.played });
});

function named(text) {
  if (typeof text !== "string" || !/^[\p{L}\p{N} ._-]{1,24}$/u.test(text)) {
    throw new Problem(400, "a player's name is 1 to 24 letters, digits, spaces, dots and dashes");
  }
  return text;
}

app.use((request, response) => response.status(404).json({ error: "there is nothing here" }));

app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  // What is wrong with a request has a status; everything else here is the database.
  const status = error.status ?? 503;
  if (status >= 500) console.error(`gateway: ${request.method} ${request.path}: ${error.message}`);
  const told = error.status ? error.message : "the database does not answer";
  return response.status(status).json({ error: told });
});
