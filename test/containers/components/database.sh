#!/bin/sh
# As the image of PostgreSQL: a cluster with POSTGRES_USER and POSTGRES_DB at the first start.
set -e
cluster=/var/lib/postgresql/data/cluster
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if [ ! -s "$cluster/PG_VERSION" ]; then
  install -d -o postgres -g postgres -m 0700 "$cluster"
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password && chmod 0644 /tmp/password
  as_postgres /opt/postgres/bin/initdb --pgdata="$cluster" --username="$POSTGRES_USER" --pwfile=/tmp/password \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$cluster/pg_hba.conf"
  echo "create database $POSTGRES_DB" | as_postgres /opt/postgres/bin/postgres --single -D "$cluster" postgres
fi
shift
exec setpriv --reuid=postgres --regid=postgres --clear-groups /opt/postgres/bin/postgres -D "$cluster" \
  -c listen_addresses='*' -c unix_socket_directories= "$@"
