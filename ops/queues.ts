/** The broker's queues, by the names that the services give them. */

/** The outcomes of orders, for Inventory. */
export const OUTCOMES_QUEUE = "holdfast.inventory.orders";

/** Every queue that is consumed, and where what belonged to a queue that is gone is put aside. */
export const QUEUES = [
  OUTCOMES_QUEUE,
  "holdfast.inventory.nudges",
  "holdfast.order.nudges",
  "holdfast.order.missed-outcomes",
  "holdfast.lost",
] as const;

/** The rungs of the delay ladder on which an event waits for its next try. Nudges wait there too. */
export const RETRY_QUEUES = ["1s", "5s", "15s", "1m", "5m"].map((rung) => `holdfast.delay.${rung}`);
