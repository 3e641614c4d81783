// Whether the gateway can do its work: the document of /api/health, and the short answer of /api/ready.

import { pool } from "./database.mjs";
import * as flask from "./flask.mjs";
import { settings } from "./settings.mjs";

async function examined(look) {
  const start = performance.now();
  try {
    const found = await look();
    return { ...found, milliseconds: Math.round(performance.now() - start) };
  } catch (error) {
    return { status: "unhealthy", error: error.message };
  }
}

const database = () =>
  examined(async () => {
    await pool.query("SELECT 1");
    return { status: "healthy" };
  });

const games = () =>
  examined(async () => {
    const { body } = await flask.health();
    return { status: body.status, checks: body.checks };
  });

/** The whole document; 200 when everything that a game needs is well. */
export async function health() {
  const [db, service] = await Promise.all([database(), games()]);
  const { checks: found, ...dependency } = service;
  const checks = {
    database: db.status === "healthy",
    flask: service.status === "healthy",
    sandbox: Boolean(found?.sandbox_available && found?.executor_image),
  };
  const healthy = Object.values(checks).every(Boolean);
  const document = {
    status: healthy ? "healthy" : "unhealthy",
    service: "express",
    timestamp: new Date().toISOString(),
    environment: settings.environment,
    uptime: process.uptime(),
    memory: process.memoryUsage(),
    dependencies: { database: db, flask: dependency },
    checks,
  };
  return [healthy ? 200 : 503, document];
}

/** Whether requests can be sent here: the container's health check. It asks for the database only, for the game
 * service starts after the gateway. */
export async function ready() {
  const { status, error } = await database();
  return status === "healthy" ? [200, { ready: true }] : [503, { ready: false, error }];
}
