// What the environment says, and the secrets, which are files.

import { readFileSync } from "node:fs";

const { env } = process;

/** Ends the process: something that only its operator can mend. */
export function giveUp(reason) {
  console.error(`gateway: ${reason}`);
  process.exit(78);
}

function secret(name) {
  const file = env[`${name.toUpperCase()}_FILE`] ?? `/run/secrets/${name}`;
  let text;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    giveUp(`the secret ${name} is missing: ${error.message}`);
  }
  return text || giveUp(`the secret ${name} is empty: ${file}`);
}

export const settings = {
  environment: env.NODE_ENV ?? "development",
  port: Number(env.PORT ?? 3000),
  flask: env.FLASK_URL ?? "http://flask:5000",
  database: {
    host: env.DATABASE_HOST ?? "postgres",
    port: Number(env.DATABASE_PORT ?? 5432),
    user: "game",
    database: "game",
    password: secret("database_password"),
  },
  sessionSecret: secret("session_secret"),
  /** How long anybody waits: for the database, for a health document, for a game with its ten seconds and its start. */
  wait: { database: 3_000, health: 10_000, game: 30_000 },
};
