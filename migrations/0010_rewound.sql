-- migrate:up

-- A person has set the group to another offset, and nobody has taken the partition over since: who has it lets go of it, and
-- must take it again also where no record comes to remind it.
alter table consumer_offsets add rewound boolean not null default false;

-- migrate:down

alter table consumer_offsets drop column rewound;
