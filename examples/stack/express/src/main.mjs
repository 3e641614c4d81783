// Starts the gateway, and ends it without losing anybody's answer.

import { app } from "./app.mjs";
import { connected, pool } from "./database.mjs";
import { settings } from "./settings.mjs";

const server = app.listen(settings.port, "0.0.0.0", (error) => {
  if (error) throw error;
  console.log(`gateway: listening on ${settings.port}, ${settings.environment}`);
});
server.requestTimeout = settings.wait.game + 10_000;

connected().then(() => console.log("gateway: the database answers"));

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    console.log(`gateway: ${signal}`);
    server.close(() => pool.end().finally(() => process.exit(0)));
    server.closeIdleConnections();
    setTimeout(() => process.exit(0), 8_000).unref();
  });
}
