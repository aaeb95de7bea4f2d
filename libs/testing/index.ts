export { createTestBroker, type TestBroker } from "./broker.ts";
export { testCall } from "./call.ts";
export { createTestDatabase, type TestDatabase } from "./database.ts";
