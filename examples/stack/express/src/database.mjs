// PostgreSQL: a pool of connections that outlives the server behind it.

import pg from "pg";

import { giveUp, settings } from "./settings.mjs";

/** SQLSTATEs that do not mend themselves: the password is wrong, or this role may not connect. */
const REFUSED = ["28P01", "28000"];

export const pool = new pg.Pool({
  ...settings.database,
  max: 10,
  connectionTimeoutMillis: settings.wait.database,
  query_timeout: settings.wait.database,
  idleTimeoutMillis: 30_000,
  keepAlive: true,
});

// A connection that nobody uses was lost. The pool opens another when somebody asks; without a listener it would be
// the end of the process.
pool.on("error", (error) => console.error(`gateway: a connection to the database was lost: ${error.message}`));

/** Returns once the database has answered; waits for one that is not up, and gives up if it refuses us. */
export async function connected() {
  for (let told = ""; ; ) {
    try {
      return await pool.query("SELECT 1");
    } catch (error) {
      if (REFUSED.includes(error.code)) {
        giveUp(`the database refuses user ${settings.database.user}: ${error.message}`);
      }
      if (error.message !== told) console.error(`gateway: waiting for the database: ${error.message}`);
      told = error.message;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** Keeps a game that was played. */
export async function keep(player, game) {
  await pool.query("INSERT INTO games (id, player, ended, milliseconds, score) VALUES ($1, $2, $3, $4, $5)", [
    game.id,
    player,
    game.ended,
    game.milliseconds,
    game.score,
  ]);
}

/** The ten best. */
export async function best() {
  const { rows } = await pool.query(
    "SELECT player, score, played FROM games WHERE score IS NOT NULL ORDER BY score DESC, played LIMIT 10",
  );
  return rows;
}
