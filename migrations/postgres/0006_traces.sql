-- The request that an event came of (W3C Trace Context): 16 bytes of trace, 8 of span, flags.
alter table event add column trace bytea;
