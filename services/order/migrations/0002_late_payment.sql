-- A payment that comes after its order EXPIRED. Its outcome is decided on the order's row like any other: a
-- try to reserve the stock again (late_attempt_time), then SETTLED (late), or a refund that is required, then
-- resolved.
alter table orders
  add column late boolean not null default false,
  -- Under which the stock is reserved again; stays when the try has ended, for the audit.
  add column late_reservation_id uuid,
  -- When the try began; null when none is under way.
  add column late_attempt_time timestamptz(3),
  add column refund_required boolean not null default false,
  add column refund_resolution text not null default '',
  add column refund_resolve_time timestamptz(3);

-- What is there already obeys the narrower rule that each of these replaces, or has the defaults above, so
-- the table is not read for them.
alter table orders
  drop constraint orders_payment_of_settled,
  add constraint orders_payment_of_settled_or_expired
    check (payment_reference = '' or state in ('SETTLED', 'EXPIRED')) not valid,
  add constraint orders_late_of_settled
    check (not late or (state = 'SETTLED' and late_reservation_id is not null)) not valid,
  add constraint orders_late_attempt_of_expired
    check (late_attempt_time is null or (state = 'EXPIRED' and late_reservation_id is not null)) not valid,
  add constraint orders_refund_of_expired
    check (not refund_required or (state = 'EXPIRED' and late_attempt_time is null)) not valid,
  add constraint orders_refund_resolved_once_required
    check (
      refund_resolve_time is null
      or (state = 'EXPIRED' and late_attempt_time is null and not refund_required)
    ) not valid,
  add constraint orders_refund_resolution_has_time
    check (refund_resolution = '' or refund_resolve_time is not null) not valid;

alter table order_history
  drop constraint order_history_nothing_after_the_end,
  add constraint order_history_after_expiry_only_payment
    check (
      from_state in ('RESERVING', 'PENDING')
      or (from_state = 'EXPIRED' and to_state in ('EXPIRED', 'SETTLED'))
    ) not valid;

-- Orders to give money back for, newest first, for lists. Nearly empty.
create index orders_by_refund on orders (tenant_id, create_time, order_id) where refund_required;
-- Tries under way, for the recovery. Nearly empty.
create index orders_by_late_attempt on orders (tenant_id, late_attempt_time)
  where late_attempt_time is not null;
