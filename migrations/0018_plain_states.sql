-- migrate:up

-- They are written anew every half minute: compressing them costs more than the bytes that it saves.
alter table fold_states alter column base set storage external, alter column recent set storage external;

-- migrate:down

alter table fold_states alter column base set storage extended, alter column recent set storage extended;
