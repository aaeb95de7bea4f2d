import type { Sql } from "#libs/db";

/** `ok` if the database answers, or what is wrong. */
export async function pingStore(sql: Sql): Promise<string> {
  try {
    await sql`select 1`;
    return "ok";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
