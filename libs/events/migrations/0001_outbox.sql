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
