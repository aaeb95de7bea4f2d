#!/bin/bash
# Makes, for each service, a database and a user who owns it and can enter no other one, or brings those that
# are there to the passwords of now. Runs each time the system is started, so that a new service finds its
# database on old data too. In: PGHOST, PGPASSWORD and, for each service, <SERVICE>_DATABASE_PASSWORD.
set -euo pipefail

if ! problem=$(psql -X -U postgres -d postgres -c 'select 1' 2>&1 >/dev/null); then
  echo "$problem" >&2
  exit 1
fi

for variable in $(compgen -e | grep '_DATABASE_PASSWORD$' | sort); do
  service=${variable%_DATABASE_PASSWORD}
  name=holdfast_${service,,}
  psql -X -q -U postgres -d postgres -v ON_ERROR_STOP=1 -v name="$name" -v variable="$variable" <<'SQL'
\getenv password :variable
select format('create role %I login', :'name')
where not exists (select from pg_roles where rolname = :'name')
\gexec
select format('alter role %I nosuperuser nocreatedb nocreaterole password %L', :'name', :'password')
\gexec
select format('create database %I owner %I', :'name', :'name')
where not exists (select from pg_database where datname = :'name')
\gexec
select format('revoke all on database %I from public', :'name')
\gexec
SQL
  echo "$name has its database"
done

# What everybody may enter by default is nobody's either.
psql -X -q -U postgres -d postgres -v ON_ERROR_STOP=1 \
  -c 'revoke all on database postgres from public' -c 'revoke all on database template1 from public'
