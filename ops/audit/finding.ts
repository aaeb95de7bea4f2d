/** What an audit tells: what is wrong, with which rows, and what to do about it. */

export type FindingKind =
  /** An order whose stock nobody keeps, or that was sold without a reservation. */
  | "RESERVATION_MISSING"
  /** Stock that is kept for, or was sold to, an order that does not exist. */
  | "ORDER_MISSING"
  /** Both are there, and their states contradict each other. */
  | "STATES_DISAGREE"
  /** Both are there, and not about the same items. */
  | "LINES_DISAGREE"
  /** One id twice among the reservations. */
  | "RESERVATION_TWICE"
  /** RESERVING for longer than the recovery takes. */
  | "RESERVING_TOO_LONG"
  /** PENDING for longer after its time than the sweeper takes. */
  | "OVERDUE"
  /** The history of an order has a gap, or does not end with its state. */
  | "HISTORY_BROKEN"
  /** A row of the ledger is missing, or contradicts the one before it. */
  | "LEDGER_BROKEN"
  /** The counters are not what the ledger comes to. */
  | "COUNTERS_DISAGREE"
  /** The reserved units are not the sum of the live reservations. */
  | "RESERVED_DISAGREES"
  /** Messages wait in an outbox for longer than they should. */
  | "OUTBOX_STUCK"
  /** The outcomes of orders wait with the broker for longer than they should. */
  | "EVENT_LATE"
  /** Messages were put aside for a person to decide about. */
  | "DEAD_LETTERS"
  /** There are more differences than an audit looks into. */
  | "TOO_MANY";

/** One thing that is wrong. */
export type Finding = {
  readonly kind: FindingKind;
  /** Which rows: `order demo/0193...`, `stock demo/TEA-1/main`, `outbox of order`. */
  readonly subject: string;
  readonly detail: string;
};

/** A difference that an event under way will end. */
export type UnderWay = {
  readonly subject: string;
  readonly detail: string;
  /** How long it has been so. */
  readonly ageMs: number;
};

/** What a person does about a finding, one sentence or two. */
export const remedies: Readonly<Record<FindingKind, string>> = {
  RESERVATION_MISSING:
    "Read both histories (ListOrderHistory, ListMovements). Cancel the order, or adjust the stock for it.",
  ORDER_MISSING:
    "Look for the id in both services' logs. Inventory asks after it within two days, and it is released.",
  STATES_DISAGREE:
    "Replay its event if it is a dead letter (make dead-letters); a lost one is told again within two days.",
  LINES_DISAGREE: "Compare the order's lines with the reservation's, and correct the stock by AdjustStock.",
  RESERVATION_TWICE: "Keep the row that the ledger knows (ListMovements by its cause), and remove the other.",
  RESERVING_TOO_LONG: "The recovery does not run: see whether an instance of order is up, and what it logs.",
  OVERDUE:
    "Neither nudges nor the sweeper work: see whether an instance of order is up with EXPIRY_SWEEPER=on.",
  HISTORY_BROKEN: "Somebody changed rows by hand: compare with a backup before anything is corrected.",
  LEDGER_BROKEN: "Somebody changed rows by hand: compare with a backup before anything is corrected.",
  COUNTERS_DISAGREE:
    "The ledger is the truth unless it is broken: correct the counters to it while nothing sells the item.",
  RESERVED_DISAGREES:
    "List who has it reserved (ExplainStock), and compare with the ledger's last movements.",
  OUTBOX_STUCK: "See whether the broker is up and takes messages, and what the service's relay logs.",
  EVENT_LATE: "See whether an instance of inventory is up and consumes, and what it logs.",
  DEAD_LETTERS: "Look at them and replay or drop each: make dead-letters.",
  TOO_MANY: "See first whether the broker and both services are up, and audit again when they are.",
};
