-- Tables are heaps here: messages stand in the order of their writing already. What the relay needed once goes: it waits at missing
-- numbers instead.
alter table event drop column writer;
