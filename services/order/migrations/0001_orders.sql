-- What a customer placed. Its row is the only judge of its state: every transition is a conditional statement
-- on it.
create table orders (
  tenant_id text not null,
  order_id uuid not null,
  state text not null,
  -- The number of transitions so far: the sequence of the last row of its history.
  version integer not null,
  -- How many calls have worked at it while it was RESERVING: 1 unless a repeated request went on with it.
  attempts integer not null default 1,
  customer_id text not null,
  currency text not null,
  note text not null,
  create_time timestamptz(3) not null,
  update_time timestamptz(3) not null,
  expire_time timestamptz(3),
  end_time timestamptz(3),
  payment_reference text not null default '',
  cancel_reason text not null default '',
  rejection jsonb,
  constraint orders_key primary key (tenant_id, order_id),
  constraint orders_state_known
    check (state in ('RESERVING', 'PENDING', 'SETTLED', 'CANCELLED', 'EXPIRED', 'REJECTED')),
  constraint orders_ended_iff_final
    check ((end_time is not null) = (state in ('SETTLED', 'CANCELLED', 'EXPIRED', 'REJECTED'))),
  constraint orders_expire_once_pending
    check ((expire_time is not null) = (state in ('PENDING', 'SETTLED', 'CANCELLED', 'EXPIRED'))),
  constraint orders_expired_not_early
    check (state <> 'EXPIRED' or end_time >= expire_time),
  constraint orders_rejection_iff_rejected
    check ((rejection is not null) = (state = 'REJECTED')),
  constraint orders_payment_of_settled
    check (payment_reference = '' or state = 'SETTLED'),
  constraint orders_reason_of_cancelled
    check (cancel_reason = '' or state = 'CANCELLED'),
  constraint orders_version_positive
    check (version >= 1 and attempts >= 1)
) with (
  -- Four writes in an order's life leave three dead rows behind: sweep them before they are a fifth of the
  -- table.
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_analyze_scale_factor = 0.02
);

-- Lists by state, and all of a tenant by merging its six states; the recovery loop finds old RESERVING ones
-- here.
create index orders_by_state on orders (tenant_id, state, create_time, order_id);
-- The beginning of the customer's id only: an id may be longer than an index entry.
create index orders_by_customer on orders (tenant_id, left(customer_id, 64), create_time, order_id);
-- What falls due, in its order. Holds nothing but live orders.
create index orders_by_expiry on orders (tenant_id, expire_time) where state = 'PENDING';

-- What was ordered; never changes.
create table order_lines (
  tenant_id text not null,
  order_id uuid not null,
  line_number integer not null,
  sku text not null,
  location_id text not null,
  quantity integer not null,
  unit_amount bigint not null,
  constraint order_lines_key primary key (tenant_id, order_id, line_number),
  constraint order_lines_number_from_1_to_100 check (line_number between 1 and 100),
  constraint order_lines_quantity_positive check (quantity between 1 and 1000000),
  constraint order_lines_unit_amount_not_negative check (unit_amount >= 0)
);

-- Every transition of every order, written by the statement or transaction that made it.
create table order_history (
  tenant_id text not null,
  order_id uuid not null,
  sequence integer not null,
  -- Null in the first row: the order came into being.
  from_state text,
  to_state text not null,
  create_time timestamptz(3) not null,
  actor text not null,
  reason text not null,
  constraint order_history_key primary key (tenant_id, order_id, sequence),
  constraint order_history_first_from_nothing check ((sequence = 1) = (from_state is null)),
  constraint order_history_nothing_after_the_end check (from_state in ('RESERVING', 'PENDING')),
  constraint order_history_actor_known check (actor in ('api', 'nudge', 'sweeper', 'touch', 'recovery'))
);

-- What each request_id was used for, kept for 7 days: the same request again is answered again.
create table requests (
  tenant_id text not null,
  request_id uuid not null,
  -- SHA-256 over the method's name and the request without its request_id.
  request_hash bytea not null,
  order_id uuid not null,
  create_time timestamptz(3) not null default now(),
  constraint requests_key primary key (tenant_id, request_id)
);

-- Rows come in by time and leave by time; this costs nothing at an insert and finds the old ones.
create index requests_by_age on requests using brin (create_time)
  with (pages_per_range = 16, autosummarize = on);

-- The seconds at which orders of a tenant fall due and for which a nudge is in the outbox, with the broker,
-- or past.
create table nudges (
  tenant_id text not null,
  due_time timestamptz(3) not null,
  constraint nudges_key primary key (tenant_id, due_time),
  constraint nudges_whole_second check (due_time = date_trunc('second', due_time))
);

-- The outbox: what a transaction has to say, in the transaction itself. Each service has this table in its
-- own database; its first migration carries a copy of this text.
--
-- A row is written with its event or nudge, published, confirmed by the broker and deleted: two writes a
-- message where the process that wrote it also publishes it. next_attempt_time is when the next relay may
-- take it: a row is born leased to its writer for a few seconds, a relay that takes it leases it anew, and a
-- failure moves it a growing pause away. So no lock is held while the broker is waited for, and what a dead
-- process left is taken by another.
create table outbox (
  tenant_id text not null,
  outbox_id uuid not null,
  type text not null,
  body bytea not null,
  mandatory boolean not null,
  correlation_id text,
  traceparent text,
  nudge_queue text,
  due_time timestamptz(3),
  create_time timestamptz(3) not null default clock_timestamp(),
  next_attempt_time timestamptz(3) not null,
  attempts integer not null default 0,
  constraint outbox_key primary key (tenant_id, outbox_id),
  constraint outbox_nudge_is_whole check ((nudge_queue is null) = (due_time is null))
) with (
  -- The table is short and all of it is dead again in a moment: sweep by count, not by share.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_insert_threshold = -1,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 100000
);

create index outbox_by_next_attempt on outbox (next_attempt_time);
