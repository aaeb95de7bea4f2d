-- Stock, the reservations that promise it, and the ledger that proves it. See README.md for the order of
-- locks.
--
-- Names are compared byte by byte (collate "C"), so that every server and the service sort them alike, and
-- fast. Tables that take a row a reservation have no foreign keys: each would cost a look-up a row, and the
-- service reads and locks the parents anyway.

create table items (
  tenant_id text collate "C" not null,
  sku text collate "C" not null,
  display_name text not null,
  reorder_point integer not null,
  state text not null,
  create_time timestamptz(3) not null,
  update_time timestamptz(3) not null,
  constraint items_key primary key (tenant_id, sku),
  constraint item_reorder_point_in_range check (reorder_point between 0 and 1000000000),
  constraint item_state_is_known check (state in ('ACTIVE', 'ARCHIVED'))
);

create table locations (
  tenant_id text collate "C" not null,
  location_id text collate "C" not null,
  display_name text not null,
  create_time timestamptz(3) not null,
  constraint locations_key primary key (tenant_id, location_id)
);

insert into locations (tenant_id, location_id, display_name, create_time)
values ('demo', 'main', 'Main', clock_timestamp());

-- The counters, and the lock that every change of them takes. `archived` and `reorder_point` are the
-- item's, copied under its lock, so that the one row that is locked decides. `update_time` keeps the
-- ledger's times from running backwards within a chain. No index but the key, and room in each page: an
-- update stays in its page and touches no index.
create table stock_levels (
  tenant_id text collate "C" not null,
  sku text collate "C" not null,
  location_id text collate "C" not null,
  on_hand integer not null,
  reserved integer not null,
  version bigint not null,
  archived boolean not null,
  reorder_point integer not null,
  update_time timestamptz(3) not null,
  constraint stock_levels_key primary key (tenant_id, sku, location_id),
  constraint stock_level_item foreign key (tenant_id, sku) references items (tenant_id, sku),
  constraint stock_level_location
    foreign key (tenant_id, location_id) references locations (tenant_id, location_id),
  constraint stock_on_hand_in_range check (on_hand between 0 and 1000000000),
  constraint stock_reserved_not_above_on_hand check (reserved between 0 and on_hand),
  constraint stock_version_not_negative check (version >= 0)
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000
);

-- The ledger. Its key is the chain: version n+1 follows n. By month, so that old ones can be taken out of
-- use.
create table movements (
  tenant_id text collate "C" not null,
  sku text collate "C" not null,
  location_id text collate "C" not null,
  version bigint not null,
  type text not null,
  on_hand_delta integer not null,
  reserved_delta integer not null,
  on_hand_after integer not null,
  reserved_after integer not null,
  cause uuid not null,
  create_time timestamptz(3) not null,
  constraint movements_key primary key (tenant_id, sku, location_id, version, create_time),
  constraint movement_type_is_known check (type in ('ADJUST', 'RESERVE', 'RELEASE', 'COMMIT', 'EXPIRE')),
  constraint movement_reserved_not_above_on_hand check (reserved_after between 0 and on_hand_after)
) partition by range (create_time);

-- Where the chain of a level begins once its older movements were taken out of use: what they came to.
create table balances (
  tenant_id text collate "C" not null,
  sku text collate "C" not null,
  location_id text collate "C" not null,
  version bigint not null,
  on_hand_after integer not null,
  reserved_after integer not null,
  create_time timestamptz(3) not null,
  constraint balances_key primary key (tenant_id, sku, location_id)
);

-- What the movements of an adjustment have in common.
create table adjustments (
  tenant_id text collate "C" not null,
  adjustment_id uuid not null,
  reason text not null,
  reference text not null,
  create_time timestamptz(3) not null,
  constraint adjustments_key primary key (tenant_id, adjustment_id)
);

-- Live reservations, and for a day the tombstones of those that were released before they were made: the
-- key keeps a late create out. `lines` is a list of {sku, location_id, quantity}. An ended one moves to
-- ended_reservations, so that this table and its indexes stay as small as what is live.
create table reservations (
  tenant_id text collate "C" not null,
  reservation_id uuid not null,
  state text not null,
  owner text not null,
  lines jsonb not null,
  create_time timestamptz(3) not null,
  expire_time timestamptz(3),
  end_time timestamptz(3),
  constraint reservations_key primary key (tenant_id, reservation_id),
  constraint reservation_is_live_or_tombstone check (
    (state = 'ACTIVE' and end_time is null) or (state = 'RELEASED' and end_time is not null and lines = '[]')
  )
) with (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000
);

-- Newest first, for lists. The predicate is always true, and only lists say it: without it a plan that was
-- made while the table was empty, when every index looks alike, may walk this one to find an id.
create index reservations_by_create_time on reservations (tenant_id, create_time, reservation_id)
where create_time > '2000-01-01 00:00:00+00';

-- Those of an order are found by the order's id. An owner's name may be longer than an index entry.
create index reservations_by_owner on reservations (tenant_id, left(owner, 64), create_time, reservation_id)
where owner not like 'orders/%';

-- What falls due, for nudges and the sweeper, which goes over all tenants.
create index reservations_by_expire_time on reservations (expire_time, tenant_id)
where state = 'ACTIVE' and expire_time is not null;

create index reservations_by_end_time on reservations (end_time)
where state = 'RELEASED';

-- Who has what of a level reserved: one row a line of a live reservation.
create table reservation_lines (
  tenant_id text collate "C" not null,
  sku text collate "C" not null,
  location_id text collate "C" not null,
  reservation_id uuid not null,
  quantity integer not null,
  constraint reservation_lines_key primary key (tenant_id, sku, location_id, reservation_id),
  constraint reservation_line_quantity_positive check (quantity > 0)
) with (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000
);

create table ended_reservations (
  tenant_id text collate "C" not null,
  reservation_id uuid not null,
  state text not null,
  owner text not null,
  lines jsonb not null,
  create_time timestamptz(3) not null,
  expire_time timestamptz(3),
  end_time timestamptz(3) not null,
  constraint ended_reservations_key primary key (tenant_id, reservation_id, end_time),
  constraint ended_reservation_state_is_known check (state in ('COMMITTED', 'RELEASED', 'EXPIRED'))
) partition by range (end_time);

create index ended_reservations_by_create_time on ended_reservations (tenant_id, create_time, reservation_id)
where create_time > '2000-01-01 00:00:00+00';

create index ended_reservations_by_owner
on ended_reservations (tenant_id, left(owner, 64), create_time, reservation_id)
where owner not like 'orders/%';

-- Requests that took effect, so that a repeated one is answered and not done again. `resource` is what it
-- made; `response` is kept where the answer is not the resource as it is now.
create table requests (
  tenant_id text collate "C" not null,
  request_id uuid not null,
  request_hash text not null,
  resource text not null,
  response jsonb,
  create_time timestamptz(3) not null,
  constraint requests_key primary key (tenant_id, request_id)
);

create index requests_by_create_time on requests (create_time);

-- The seconds for which a nudge was written, so that all that fall due in one of them share it.
create table nudges (
  tenant_id text collate "C" not null,
  due_second timestamptz(3) not null,
  constraint nudges_key primary key (tenant_id, due_second)
);

create index nudges_by_due_second on nudges (due_second);

-- The outbox: what a transaction has to say, in the transaction itself. Each service has this table in its
-- own database; its first migration carries a copy of this text.
--
-- A row is written with its event or nudge, published, confirmed by the broker and deleted: two writes a
-- message where the process that wrote it also publishes it. next_attempt_time is when the next relay may
-- take it: a row is born leased to its writer for a few seconds, a relay that takes it leases it anew, and
-- a failure moves it a growing pause away. So no lock is held while the broker is waited for, and what a
-- dead process left is taken by another.
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
