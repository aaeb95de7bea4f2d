export { testCall } from "./call.ts";
export { createTestDatabase, type TestDatabase } from "./database.ts";
