-- Absences that end by themselves, by their end: watchers of those people are told then.
create index person_absence on person (unavailable_expires_at) where unavailable_expires_at is not null;
